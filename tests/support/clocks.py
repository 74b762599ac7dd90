"""Time for tests: real where something real keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

TIMEOUT = 60.0
"""Seconds after which something that should have happened never will."""


async def sleep(seconds: float) -> None:
    """Let real time pass."""
    await deferLater(reactor, seconds)


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as something is so.

    :raises AssertionError: if it never is.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "this never happens"
        await sleep(0.02)


def running(work: object) -> Deferred[object]:
    """Begin to run a coroutine."""
    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]
