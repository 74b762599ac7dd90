"""Rate limit: something happens at most once in a period."""

from __future__ import annotations

from collections.abc import Callable


class Throttle:
    """Allows something once in a period, e.g. a line in the log.

    :param now: seconds, from whenever.
    :param seconds: the period.
    """

    def __init__(self, now: Callable[[], float], seconds: float = 60.0) -> None:
        self._now = now
        self._seconds = seconds
        self._next: float | None = None

    def allows(self) -> bool:
        """Return whether the period since the last time this was true is over."""
        now = self._now()
        if self._next is not None and now < self._next:
            return False
        self._next = now + self._seconds
        return True
