"""Waiting together: for a result, or for something that happens once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from qabel_block.errors import fresh

T = TypeVar("T")


class Waiters(Generic[T]):
    """Callers that wait for the same result. It is true while there are any.

    Who is cancelled only stops waiting.
    """

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self) -> Deferred[T]:
        """Return the next result, or raise what the next failure is."""
        one: Deferred[T] = Deferred()
        self._waiting.append(one)
        return one

    def wake(self, result: T) -> None:
        """Give all that wait now their result."""
        self._each(lambda one: one.callback(result))

    def fail(self, error: Exception) -> None:
        """Raise the error for all that wait now, a fresh instance for each."""
        self._each(lambda one: one.errback(fresh(error)))

    def _each(self, tell: Callable[[Deferred[T]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:  # cancelled
                tell(one)


class Event:
    """Something that happens once, for which any number may wait.

    :ivar is_set: whether it has happened.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._waiters = Waiters[None]()

    def set(self) -> None:
        """Let it happen. May be repeated."""
        self.is_set = True
        self._waiters.wake(None)

    async def wait(self) -> None:
        """Return when it has happened."""
        if not self.is_set:
            await self._waiters.wait()
