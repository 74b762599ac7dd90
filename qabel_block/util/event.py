"""Something that happens once, for which any number may wait."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Event:
    """:ivar up: whether it has happened."""

    def __init__(self) -> None:
        self.up = False
        self._waiting: list[Deferred[None]] = []

    def put_up(self) -> None:
        """Let it happen. May be repeated."""
        self.up = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def wait(self) -> None:
        """Return when it has happened."""
        if not self.up:
            one: Deferred[None] = Deferred()
            self._waiting.append(one)
            await one
