"""Deletes blobs that no object points at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import StorageFull, Unavailable
from qabel_block.interfaces import IStorageBackend
from qabel_block.ledger.ledger import Ledger

BATCH = 500
"""Blobs that are claimed at a time."""


class Collector:
    """Deletes garbage from time to time, beside other nodes that do the same.

    A blob's note goes only after the blob is gone, and a node that dies in
    between leaves notes that are claimed again after the grace period.

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
        self._one_round = DeferredLock()
        self._stopping = False
        self._loop = LoopingCall(lambda: ensureDeferred(self._try_to_collect()))
        self._loop.clock = clock

    def start(self) -> None:
        """Begin the first round, and more of them at every interval."""
        self._stopping = False
        self._loop.start(self._interval)

    async def stop(self) -> None:
        """Begin no more rounds, and wait for the batch that is under way."""
        self._stopping = True
        if self._loop.running:
            self._loop.stop()
        await self._one_round.run(lambda: None)

    async def collect(
        self,
        grace: float | None = None,
        told: Callable[[int], object] = lambda count: None,
    ) -> int:
        """Delete all garbage that is old enough; return how many blobs.

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

    async def _collect(self, grace: float, told: Callable[[int], object]) -> int:
        collected = 0
        while not self._stopping and (
            keys := await self._ledger.claim_garbage(grace, BATCH)
        ):
            failed = await self._storage.delete(keys)
            deleted = [key for key in keys if key not in failed]
            if deleted:
                await self._ledger.forget_garbage(deleted)
            collected += len(deleted)
            told(len(keys))
            if failed:
                self._report(failed)
            if not deleted:
                break  # without a grace period they would be claimed again and again
        return collected

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
        except (Unavailable, StorageFull) as error:
            self._log.warn("garbage is not collected: {error}", error=error)
        except Exception:
            self._log.failure("garbage is not collected")
