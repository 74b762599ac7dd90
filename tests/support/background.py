"""A reactor in a thread, for servers that answer while a test blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.pollreactor import PollReactor
from twisted.internet.threads import blockingCallFromThread

T = TypeVar("T")


@cache
def background_reactor() -> Any:
    """Return the one of this process, which runs as long as that does."""
    reactor = PollReactor()
    Thread(target=reactor.run, args=(False,), daemon=True).start()
    return reactor


def in_background(function: Callable[..., T], *args: Any, **named: Any) -> T:
    """Call a function in the reactor's thread and wait for its result."""
    result: T = blockingCallFromThread(background_reactor(), function, *args, **named)
    return result
