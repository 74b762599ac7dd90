"""Runs blocking calls in threads, with a limit on the wait for one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from qabel_block.errors import Unavailable
from qabel_block.util.threads import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

WAIT_SECONDS = 15.0
"""How long a call waits for its turn while no other call succeeds."""


class ThreadQueue:
    """Runs calls in threads; those that a store which hangs keeps waiting for a
    thread fail.

    A store that is merely slow is waited for, as long as it gets anything done:
    otherwise the last of many uploads would fail for no better reason than that
    they are many.
    """

    def __init__(self, threads: ThreadPool, clock: IReactorTime) -> None:
        self._threads = threads
        self._clock = clock
        self._last_success = clock.seconds()

    async def run(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function`` in a thread and return what it returns.

        :raises Unavailable: if its turn does not come; it is never called then.
        """
        turn = _QueuedCall(lambda: function(*args, **kwargs))
        outcome: Deferred[T] = Deferred()
        since = self._clock.seconds()
        waiting: IDelayedCall | None = None

        def look() -> None:
            nonlocal waiting
            waiting = None
            now = self._clock.seconds()
            left = max(self._last_success, since) + WAIT_SECONDS - now
            if left > 0:
                waiting = self._clock.callLater(left, look)
            elif turn.give_up():
                outcome.errback(Unavailable("storage", "S3 keeps all transfers busy"))

        def settle(result: Any) -> None:
            if waiting is not None:
                waiting.cancel()
            if not outcome.called:
                outcome.callback(result)

        waiting = self._clock.callLater(WAIT_SECONDS, look)
        running = Deferred.fromCoroutine(self._threads.run(turn.take))
        running.addCallback(self._succeeded).addBoth(settle)
        return await outcome

    def _succeeded(self, result: T) -> T:
        self._last_success = self._clock.seconds()
        return result


class _QueuedCall:
    """A call that begins or is given up, but not both.

    Either way it lets go of the function, and with it of what may be megabytes:
    the closures that wait refer to each other, and stay until the garbage
    collector comes.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function: Callable[[], Any] | None = function
        self._lock = threading.Lock()

    def take(self) -> Any:
        """Call the function, unless it was given up; in a thread."""
        function = self._settle()
        return None if function is None else function()

    def give_up(self) -> bool:
        """Say that nobody waits any more; return whether that was in time."""
        return self._settle() is not None

    def _settle(self) -> Callable[[], Any] | None:
        with self._lock:
            function, self._function = self._function, None
        return function
