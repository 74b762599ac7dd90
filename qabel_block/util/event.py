"""Something that happens once, for which any number may wait."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Event:
    """:ivar is_set: whether it has happened."""

    def __init__(self) -> None:
        self.is_set = False
        self._waiting: list[Deferred[None]] = []

    def set(self) -> None:
        """Let it happen. May be repeated."""
        self.is_set = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def wait(self) -> None:
        """Return when it has happened."""
        if not self.is_set:
            one: Deferred[None] = Deferred()
            self._waiting.append(one)
            await one
