"""Locks by key: work on one thing happens one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime

from qabel_block.errors import Unavailable
from qabel_block.util.budget import time_left

LIMIT = 4.0
"""Seconds that anybody waits for a turn."""


class KeyedLock:
    """Lets work on the same thing wait for each other, and no other work.

    What is remembered is only what somebody works on at the moment.

    :param clock: for the limit of waiting.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[Hashable, deque[Deferred[None]]] = {}

    @asynccontextmanager
    async def hold(self, thing: Hashable) -> AsyncIterator[None]:
        """Enter when all who came before have left.

        :raises Unavailable: if they take too long: they wait for the database.
        """
        await self._enter(thing)
        try:
            yield
        finally:
            self._leave(thing)

    async def _enter(self, thing: Hashable) -> None:
        if thing not in self._waiting:
            self._waiting[thing] = deque()
            return
        turn: Deferred[None] = Deferred()
        waiting = self._waiting[thing]
        waiting.append(turn)
        try:
            await turn.addTimeout(time_left(LIMIT), self._clock)
        except TimedOut:
            raise Unavailable("database", "changes before this one hang") from None
        finally:
            # Who has waited in vain, or was cancelled, is given no turn.
            with suppress(ValueError):
                waiting.remove(turn)

    def _leave(self, thing: Hashable) -> None:
        waiting = self._waiting[thing]
        if waiting:
            waiting.popleft().callback(None)
        else:
            del self._waiting[thing]
