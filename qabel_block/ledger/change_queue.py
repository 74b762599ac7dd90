"""Queues changes to objects, so that no owner waits for another's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from attrs import field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from qabel_block.errors import RowLocked, Unavailable, fresh
from qabel_block.ledger.commit import (
    Commit,
    Decision,
    Deletion,
    Outcome,
    OwnerLocked,
)
from qabel_block.model import WriteState
from qabel_block.util.batching import MAX_BATCH, BatchQueue, Schedule, tell
from qabel_block.util.budget import current_budget, spending, time_left

WAITING_OWNERS = 2
"""Transactions at a time that wait for locks: they occupy connections."""

WAIT_SECONDS = 8.0
"""How long a change waits for its owner's lock in all."""

Make = Callable[[Sequence[Commit | Deletion], bool], Awaitable[list[Outcome]]]


class ChangeQueue:
    """Makes changes in batches; those to a locked owner wait by themselves.

    A batch locks its owners' rows without waiting, and waits only for a moment for
    others. What another transaction has locked (that of another node, or one left open
    by hand) is set apart in a queue of its prefix, whose batches do wait for the lock.
    So at any time each prefix has at most one transaction that waits.

    :param make: makes a batch of changes in one transaction, given whether to wait for
        locked owners (:func:`~qabel_block.ledger.commit.commit_changes`).
    :param now: seconds, from whenever.
    :param schedule: see :class:`~qabel_block.util.batching.BatchQueue`.
    """

    _log = Logger()

    def __init__(
        self, make: Make, now: Callable[[], float], schedule: Schedule
    ) -> None:
        self._make = make
        self._now = now
        self._free = BatchQueue(self._make_free, now, schedule)
        self._locked: dict[str, deque[_Waiting]] = {}
        self._slots = DeferredSemaphore(WAITING_OWNERS)

    async def ask(self, change: Commit | Deletion) -> Outcome:
        """Make one change; return what it did, however late that is known.

        Where the budget is spent before the change is decided about, it is not made.

        :raises Exception: what refuses it.
        """
        if change.name.prefix not in self._locked:
            try:
                return await self._free.ask_to_the_end(change)
            except OwnerLocked:
                pass
        return await self._ask_locked(change)

    async def _make_free(self, changes: Sequence[Commit | Deletion]) -> list[Outcome]:
        try:
            return await self._make(changes, False)
        except RowLocked:
            # It is not known by whose row: each waits for its own.
            return [OwnerLocked() for _ in changes]

    async def _ask_locked(self, change: Commit | Deletion) -> Outcome:
        prefix = change.name.prefix
        seconds = time_left(WAIT_SECONDS)
        waiting = _Waiting(change, self._now() + seconds)
        is_first = prefix not in self._locked
        queue = self._locked.setdefault(prefix, deque())
        queue.append(waiting)
        if is_first:
            with spending(None):  # it serves several requests
                making = Deferred.fromCoroutine(self._make_locked(prefix))
            making.addErrback(self._broken)
        budget = current_budget()
        timer = budget and budget.clock.callLater(seconds, _give_up, queue, waiting)
        try:
            return await waiting.outcome
        finally:
            if timer and timer.active():
                timer.cancel()
            with suppress(ValueError):
                queue.remove(waiting)

    async def _make_locked(self, prefix: str) -> None:
        """Make a prefix's changes until none waits."""
        queue = self._locked[prefix]
        while True:
            # After each attempt it is the next one's turn: an owner who is locked for
            # long keeps nobody else.
            await self._slots.acquire()
            try:
                batch = [queue.popleft() for _ in range(min(MAX_BATCH, len(queue)))]
                if batch:
                    queue.extendleft(reversed(await self._attempt(batch)))
            finally:
                self._slots.release()
            if not queue:
                del self._locked[prefix]
                return

    async def _attempt(self, batch: Sequence[_Waiting]) -> list[_Waiting]:
        """Try to make changes; return those that go on waiting for the lock."""
        outcomes: Sequence[Outcome]
        again: list[_Waiting] = []
        try:
            outcomes = await self._make([waiting.change for waiting in batch], True)
        except Exception as error:
            if isinstance(error, RowLocked):
                now = self._now()
                again = [waiting for waiting in batch if now < waiting.until]
                batch = [waiting for waiting in batch if now >= waiting.until]
            outcomes = [fresh(error) for _ in batch]
        for waiting, outcome in zip(batch, outcomes, strict=True):
            tell(waiting.outcome, outcome)
        return again

    def _broken(self, failure: Failure) -> None:
        self._log.failure("changes are not made", failure=failure)


@frozen(eq=False)
class _Waiting:
    """A change that waits for its owner's lock.

    :ivar until: when it is given up; not while a transaction has it.
    """

    change: Commit | Deletion
    until: float
    outcome: Deferred[Outcome] = field(factory=Deferred)


def _give_up(queue: deque[_Waiting], waiting: _Waiting) -> None:
    if waiting in queue:
        tell(waiting.outcome, RowLocked("database", "waiting for a lock took too long"))


def if_awaited(decide: Decision) -> Decision:
    """Refuse what ``decide`` allows once the present budget is spent.

    The client has been told then that it failed, and may have been told of another
    change that this one would undo. While it is decided the owner is locked, so that
    whatever comes after the answer comes after the change, too.
    """
    budget = current_budget()
    if budget is None:
        return decide

    def decide_in_time(state: WriteState) -> None:
        if not budget.left():
            raise Unavailable("database", "it is too slow")
        decide(state)

    return decide_in_time
