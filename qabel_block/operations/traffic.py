"""Counts download traffic in memory and adds it to the ledger in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.model import TrafficCount
from qabel_block.rules.quota import month_of
from qabel_block.util.budget import Budget, spending
from qabel_block.util.event import Waiters

log = Logger()

INTERVAL = 1.0
"""Seconds between two batches: what a crash may forget."""

LAST_SECONDS = 8.0
"""How long the last batch may take when the server stops."""


@define(eq=False)
class TrafficBatch:
    """What was counted from some moment on, as far as the ledger may not have had it
    then: a batch, and those that came after it.

    :ivar counts: bytes by user and month.
    :ivar later: the next batch, once this one is closed.
    """

    counts: Counter[tuple[int, str]] = field(factory=Counter)
    later: TrafficBatch | None = None


class TrafficMeter:
    """Collects what downloads cost each owner.

    :param write: adds a batch to the ledger
        (:meth:`qabel_block.ledger.ledger.Ledger.add_traffic`).
    :param clock: for the interval.
    :param now: seconds since 1970, for the month.
    """

    def __init__(
        self,
        write: Callable[[Sequence[TrafficCount]], Awaitable[None]],
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._write = write
        self._now = now
        self._collecting = TrafficBatch()
        self._writing: TrafficBatch | None = None
        self._settling = Waiters[None]()
        self._failing = False
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.flush()))
        self._clock = self._loop.clock = clock

    def start(self) -> None:
        """Begin to write batches."""
        self._loop.start(INTERVAL, now=False)

    async def stop(self) -> None:
        """Write what is left and end; log how much can't be written in time."""
        if self._loop.running:
            self._loop.stop()
        await self.settled()
        with spending(Budget(self._clock, LAST_SECONDS)):
            last = Deferred.fromCoroutine(self.flush())
        await last
        if lost := self._collecting.counts.total():
            log.warn("{lost} bytes of traffic are lost", lost=lost)

    def add(self, user_id: int, traffic: int) -> None:
        """Count bytes that went to a client against this owner, now."""
        month = month_of(self._now())
        self._collecting.counts[user_id, month] += traffic

    def moment(self) -> TrafficBatch:
        """Return the present moment, to be taken before the ledger is asked."""
        return self._writing or self._collecting

    def unwritten(self, since: TrafficBatch, user_id: int, month: str) -> int:
        """Return the bytes that may be missing in what the ledger has said since a
        moment. Unless :meth:`is_exact`, some of them may be there already."""
        total = 0
        batch: TrafficBatch | None = since
        while batch is not None:
            total += batch.counts[user_id, month]
            batch = batch.later
        return total

    def is_exact(self, since: TrafficBatch) -> bool:
        """Whether no batch was on its way to the ledger since a moment."""
        return since is self._collecting

    async def settled(self) -> None:
        """Return when no batch is on its way to the ledger."""
        if self._writing:
            await self._settling.wait()

    async def flush(self) -> None:
        """Write one batch. If the ledger can't take it, it is kept."""
        if not self._collecting.counts or self._writing:
            return
        batch = self._writing = self._collecting
        batch.later = self._collecting = TrafficBatch()
        counts = [
            TrafficCount(user_id, month, traffic)
            for (user_id, month), traffic in batch.counts.items()
        ]
        try:
            await self._write(counts)
        except OutcomeUnknown as error:
            # It may be in the ledger: better a second for free than twice paid.
            log.warn("a batch of traffic may be lost: {error}", error=str(error))
        except Exception as error:
            self._keep(batch)
            self._log_failure(error)
        else:
            self._log_success()
        finally:
            self._writing = None
            self._settling.wake(None)

    def _log_failure(self, error: Exception) -> None:
        """Log what keeps traffic from being written, once until it can be again."""
        if self._failing:
            return
        self._failing = True
        if isinstance(error, Unavailable):
            log.warn("traffic can't be written: {error}", error=str(error))
        else:
            log.failure("traffic can't be written", failure=Failure(error))

    def _log_success(self) -> None:
        if self._failing:
            self._failing = False
            log.info("traffic can be written again")

    def _keep(self, batch: TrafficBatch) -> None:
        """Count what is not in the ledger as if it had come after all."""
        self._collecting.counts.update(batch.counts)
        batch.counts.clear()
