"""A bounded pool of threads for what would block the reactor."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.python import threadpool

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """Runs blocking calls, at most ``limit`` of them at a time.

    A pool of our own, not the reactor's: name lookups need the reactor's, and
    a storage that hangs would otherwise keep us from connecting anywhere.

    :param reactor: where results are delivered.
    :param limit: the largest number of threads.
    :param name: what the threads are called in a stack dump.
    :param waited: told the seconds that each call has waited for a thread.
    """

    def __init__(
        self,
        reactor: Any,
        limit: int,
        name: str,
        waited: Callable[[float], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._waited = waited
        self._pool = threadpool.ThreadPool(minthreads=0, maxthreads=limit, name=name)

    def start(self) -> None:
        """Get ready; calls before this wait."""
        self._pool.start()

    def stop(self) -> None:
        """Wait for what is running, and end all threads."""
        self._pool.stop()

    async def run(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call ``function`` in a thread and return what it returns."""
        if self._waited is not None:
            function = _timed(function, self._waited)
        result: T = await deferToThreadPool(
            self._reactor, self._pool, function, *args, **kwargs
        )
        return result


def _timed(function: Callable[P, T], waited: Callable[[float], None]) -> Callable[P, T]:
    asked = monotonic()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        waited(monotonic() - asked)
        return function(*args, **kwargs)

    return call
