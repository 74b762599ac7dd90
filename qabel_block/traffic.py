"""Counts download traffic in memory and adds it to the ledger in batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.model import TrafficCount
from qabel_block.policy import month_of

log = Logger()

INTERVAL = 1.0
"""Seconds between two batches: what a crash may forget."""


class TrafficMeter:
    """Collects what downloads cost each owner.

    :param write: adds a batch to the ledger
        (:meth:`qabel_block.ledger.ledger.Ledger.add_traffic`).
    :param clock: for the month and the interval.
    """

    def __init__(
        self,
        write: Callable[[Sequence[TrafficCount]], Awaitable[None]],
        clock: IReactorTime,
    ) -> None:
        self._write = write
        self._clock = clock
        self._counted: Counter[tuple[int, str]] = Counter()
        self._writing: Counter[tuple[int, str]] = Counter()
        self._settling: list[Deferred[None]] = []
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.flush()))
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to write batches."""
        self._loop.start(INTERVAL, now=False)

    async def stop(self) -> None:
        """Write what is left and end."""
        if self._loop.running:
            self._loop.stop()
        await self.settled()
        await self.flush()

    def add(self, user_id: int, traffic: int) -> None:
        """Count bytes that went to a client against this owner, now."""
        self._counted[user_id, month_of(self._clock.seconds())] += traffic

    def unwritten(self, user_id: int, month: str) -> int:
        """Return the bytes that are counted but not yet in the ledger.

        While a batch is on its way there, its bytes may be in both;
        :meth:`settled` waits for the end of that.
        """
        key = (user_id, month)
        return self._counted[key] + self._writing[key]

    @property
    def busy(self) -> bool:
        """Whether a batch is on its way to the ledger."""
        return bool(self._writing)

    async def settled(self) -> None:
        """Return when no batch is on its way to the ledger."""
        if self._writing:
            settling: Deferred[None] = Deferred()
            self._settling.append(settling)
            await settling

    async def flush(self) -> None:
        """Write one batch. If the ledger can't take it, it is kept."""
        if not self._counted or self._writing:
            return
        self._writing, self._counted = self._counted, Counter()
        batch = [
            TrafficCount(user_id, month, traffic)
            for (user_id, month), traffic in self._writing.items()
        ]
        try:
            await self._write(batch)
        except OutcomeUnknown as error:
            # It may be in the ledger: better a second for free than twice paid.
            log.warn("a batch of traffic may be lost: {error}", error=str(error))
        except Unavailable as error:
            log.warn("traffic is kept for later: {error}", error=str(error))
            self._counted.update(self._writing)
        except Exception:
            log.failure("traffic is kept for later")
            self._counted.update(self._writing)
        finally:
            self._writing = Counter()
            settling, self._settling = self._settling, []
            for waiting in settling:
                waiting.callback(None)
