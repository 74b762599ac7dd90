"""Queues changes to objects, so that no owner waits for another's lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import DeferredSemaphore

from qabel_block.errors import RowLocked
from qabel_block.ledger.commit import Commit, Deletion, Outcome, OwnerLocked
from qabel_block.util.batching import BatchQueue, Schedule

WAITING_OWNERS = 2
"""Transactions at a time that wait for locks: they occupy connections."""

WAIT_SECONDS = 8.0
"""How long a change waits for its owner's lock in all."""

Make = Callable[[Sequence[Commit | Deletion], bool], Awaitable[list[Outcome]]]


class ChangeQueue:
    """Makes changes in batches; those to a locked owner wait by themselves.

    A batch locks its owners' rows without waiting. What another transaction has
    locked (that of another node, or one left open by hand) is set apart in a queue of
    its owner, whose batches do wait for the lock. So at any time each owner has at
    most one transaction that waits.

    :param make: makes a batch of changes in one transaction, given whether to wait for
        locked owners (:func:`~qabel_block.ledger.commit.commit_changes`).
    :param now: seconds, from whenever.
    :param schedule: see :class:`~qabel_block.util.batching.BatchQueue`.
    """

    def __init__(
        self, make: Make, now: Callable[[], float], schedule: Schedule
    ) -> None:
        self._make = make
        self._now = now
        self._free = BatchQueue(self._make_free, now, schedule)
        self._locked: dict[int, _OwnerQueue] = {}
        self._slots = DeferredSemaphore(WAITING_OWNERS)

    async def ask(self, change: Commit | Deletion) -> Outcome:
        """Make one change; return what it did.

        :raises Exception: what refuses it.
        """
        try:
            return await self._free.ask(change)
        except OwnerLocked as locked:
            return await self._ask_locked(locked.owner_id, change)

    async def _ask_locked(self, owner_id: int, change: Commit | Deletion) -> Outcome:
        queue = self._locked.setdefault(owner_id, _OwnerQueue(self._make_locked))
        queue.waiting += 1
        try:
            return await queue.ask(change)
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                del self._locked[owner_id]

    async def _make_free(self, changes: Sequence[Commit | Deletion]) -> list[Outcome]:
        return await self._make(changes, False)

    async def _make_locked(self, changes: Sequence[Commit | Deletion]) -> list[Outcome]:
        began = self._now()
        while True:
            await self._slots.acquire()
            try:
                return await self._make(changes, True)
            except RowLocked:
                # The next owner's turn: one that is locked for long keeps nobody else.
                if self._now() - began > WAIT_SECONDS:
                    raise
            finally:
                self._slots.release()


class _OwnerQueue(BatchQueue[Commit | Deletion, Outcome]):
    """:ivar waiting: how many wait for an answer."""

    def __init__(
        self, ask: Callable[[Sequence[Commit | Deletion]], Awaitable[list[Outcome]]]
    ) -> None:
        super().__init__(ask)
        self.waiting = 0
