"""Deletes blobs that no object points at (garbage collection)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from qabel_block.errors import RowLocked, StorageFull, Unavailable
from qabel_block.interfaces import IStorageBackend
from qabel_block.ledger.ledger import Ledger
from qabel_block.util.budget import REQUEST_SECONDS, spending, time_left
from qabel_block.util.event import Waiters

BATCH = 500
"""Blobs that are claimed at a time."""

PENDING_SECONDS = 2.0
"""How long a blob that never was an object's stays at least, whatever the grace
period: an upload has it noted, gives it its final name, and commits it, usually within
a tenth of that. One that takes longer is refused if its blob was collected; not to wait
for such ones lets what a crash has left go soon."""

PAUSE_SECONDS = 0.25
"""How long to wait if none of an owner's garbage can be deleted: others do, or it
fails."""


@frozen
class CollectedGarbage:
    """What a round has done.

    :ivar deleted: how many blobs.
    :ivar failed: how many blobs could not be deleted.
    """

    deleted: int
    failed: int


class Collector:
    """Deletes garbage from time to time, beside other nodes that do the same.

    A blob's note goes only after the blob is gone, and a node that dies in
    between leaves notes that are claimed again: after the grace period, or after a
    minute if their owner needs room.

    :param clock: for the intervals.
    :param grace: seconds for which garbage stays; no download may last longer.
    :param interval: seconds from one round to the next.
    """

    _log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        storage: IStorageBackend,
        clock: IReactorTime,
        grace: float = 3600.0,
        interval: float = 60.0,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._grace = grace
        self._interval = interval
        self._clock = clock
        self._one_round = DeferredLock()
        self._owners: dict[int, Waiters[None]] = {}
        self._stopping = False
        self._loop = LoopingCall(lambda: ensureDeferred(self._try_to_collect()))
        self._loop.clock = clock

    def start(self) -> None:
        """Begin the first round, and more of them at every interval."""
        self._stopping = False
        self._loop.start(self._interval)

    async def stop(self) -> None:
        """Begin no more rounds, and wait for the batches that are under way."""
        self._stopping = True
        if self._loop.running:
            self._loop.stop()
        await self._one_round.run(lambda: None)
        for waiters in list(self._owners.values()):
            with suppress(Unavailable, StorageFull):
                await waiters.wait()

    async def collect(
        self,
        grace: float | None = None,
        told: Callable[[int], object] = lambda count: None,
    ) -> CollectedGarbage:
        """Delete all garbage that is old enough.

        Rounds don't overlap: a second one waits for the first. A blob that can't be
        deleted keeps no other from it, and is left to a later round.

        :param grace: seconds, if not those that were given for all rounds.
        :param told: called after each batch with the number of its blobs; the
            round ends with what it raises.
        :raises Unavailable: if the ledger or the storage fails. What is not
            deleted by then stays noted.
        """
        await self._one_round.acquire()
        try:
            return await self._collect(self._grace if grace is None else grace, told)
        finally:
            self._one_round.release()

    async def collect_owner(self, owner_id: int, size: int) -> None:
        """Delete the oldest of one owner's garbage before its time, or wait while that
        is being done.

        Whoever has opened such a blob goes on reading it; others look the object up
        once more. If nothing can be deleted now, this waits for a moment.

        :param size: bytes that shall go.
        :raises Unavailable: if the ledger or the storage fails, or it takes longer
            than the request may; then it goes on by itself.
        """
        making_room = self._join(owner_id, size)
        limit = time_left(REQUEST_SECONDS)
        await making_room.addTimeout(limit, self._clock, _too_slow)

    def schedule_collect_owner(self, owner_id: int, size: int) -> None:
        """Do that without anybody waiting for it, unless it is being done."""
        if owner_id not in self._owners:
            self._join(owner_id, size).addErrback(self._failed)

    def _join(self, owner_id: int, size: int) -> Deferred[None]:
        """Wait for one owner's garbage to be deleted, beginning if nobody has."""
        begun = owner_id in self._owners
        waiters = self._owners.setdefault(owner_id, Waiters())
        outcome = waiters.wait()
        if not begun:
            with spending(None):  # it serves all that come
                work = Deferred.fromCoroutine(self._collect_owner(owner_id, size))
            work.addBoth(self._collected_owner, owner_id)
        return outcome

    async def _collect_owner(self, owner_id: int, size: int) -> None:
        keys = await self._ledger.claim_owner_garbage(owner_id, size)
        if not keys or not (await self._delete(keys))[0]:
            await deferLater(self._clock, PAUSE_SECONDS)

    def _collected_owner(self, outcome: Failure | None, owner_id: int) -> None:
        waiters = self._owners.pop(owner_id)
        if outcome is None:
            waiters.wake(None)
        else:
            waiters.fail(outcome.value)  # type: ignore[arg-type]

    async def _delete(self, keys: Sequence[str]) -> tuple[int, set[str]]:
        """Delete blobs and their notes; return of how many both are gone, and which
        blobs could not be deleted."""
        try:
            failed = await self._storage.delete(keys)
        except Unavailable:
            await self._ledger.release_garbage(keys)
            raise
        if failed:
            self._report(failed)
            await self._ledger.release_garbage(list(failed))
        deleted = [key for key in keys if key not in failed]
        return await self._forget(deleted) if deleted else 0, set(failed)

    async def _forget(self, keys: Sequence[str]) -> int:
        """Forget blobs that are deleted; return how many could be forgotten.

        Changes hold the rows of busy owners nearly all the time. Those are waited for
        one after the other: an owner who is locked for long keeps nobody else.
        """
        forgotten = len(keys)
        for owner_keys in (await self._ledger.forget_garbage(keys)).values():
            try:
                await self._ledger.forget_garbage(owner_keys, wait=True)
            except RowLocked:
                await self._ledger.release_garbage(owner_keys)
                forgotten -= len(owner_keys)
        return forgotten

    async def _collect(
        self, grace: float, told: Callable[[int], object]
    ) -> CollectedGarbage:
        deleted = 0
        failed: set[str] = set()
        while not self._stopping and (
            keys := await self._ledger.claim_garbage(grace, BATCH, PENDING_SECONDS)
        ):
            gone, stuck = await self._delete(keys)
            deleted += gone
            failed |= stuck
            told(len(keys))
            if not gone:
                break  # without a grace period they would be claimed again and again
        return CollectedGarbage(deleted, len(failed))

    def _report(self, failed: Mapping[str, str]) -> None:
        key, reason = next(iter(failed.items()))
        self._log.warn(
            "garbage is not collected: {count} blobs, such as {key}: {reason}",
            count=len(failed),
            key=key,
            reason=reason,
        )

    async def _try_to_collect(self) -> None:
        try:
            await self.collect()
        except Exception:
            self._failed(Failure())

    def _failed(self, failure: Failure) -> None:
        if failure.check(Unavailable, StorageFull):
            self._log.warn("garbage is not collected: {error}", error=failure.value)
        else:
            self._log.failure("garbage is not collected", failure=failure)


def _too_slow(_outcome: object, _seconds: float) -> NoReturn:
    raise Unavailable("storage", "what the owner has replaced is still being deleted")
