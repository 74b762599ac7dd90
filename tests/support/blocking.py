"""Waits for coroutines of the reactor in threads that are not its own."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

T = TypeVar("T")


def now(awaitable: Awaitable[T]) -> T:
    """Wait for something, in a thread that is not the reactor's."""

    async def wait() -> T:
        return await awaitable

    call: Any = blockingCallFromThread
    result: T = call(reactor, lambda: Deferred.fromCoroutine(wait()))
    return result
