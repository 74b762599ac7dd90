"""A bounded pool of threads for what would block the reactor."""

from __future__ import annotations

from collections.abc import Callable
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
    """

    def __init__(self, reactor: Any, limit: int, name: str) -> None:
        self._reactor = reactor
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
        result: T = await deferToThreadPool(
            self._reactor, self._pool, function, *args, **kwargs
        )
        return result
