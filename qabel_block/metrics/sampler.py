"""Samples gauges at intervals: readiness, garbage, dropped log lines."""

from __future__ import annotations

from abc import ABC, abstractmethod

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import StorageFull, Unavailable
from qabel_block.interfaces import INotifier
from qabel_block.ledger.ledger import Ledger
from qabel_block.log.handlers import dropped_lines
from qabel_block.metrics.definitions import DEPENDENCIES, Metrics
from qabel_block.operations.readiness import Readiness

log = Logger()

INTERVAL = 10.0
"""Seconds between two looks."""

OVERDUE_SECONDS = 2 * 3600.0
"""Garbage so old should have been collected, whatever the collector was doing."""

COUNTED = 100_000
"""Notes of garbage that are counted: no look costs more than that."""


class PeriodicSampler(ABC):
    """Samples something at intervals; a sample that fails is logged.

    :param interval: seconds between two samples.
    :param failure: what to log.
    """

    def __init__(self, clock: IReactorTime, interval: float, failure: str) -> None:
        self._interval = interval
        self._failure = failure
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._try_to_sample()))
        self._loop.clock = clock

    def start(self) -> None:
        """Sample now, and again at every interval."""
        self._loop.start(self._interval)

    def stop(self) -> None:
        """Sample no more."""
        if self._loop.running:
            self._loop.stop()

    @abstractmethod
    async def sample(self) -> None:
        """Sample once."""

    async def _try_to_sample(self) -> None:
        try:
            await self.sample()
        except (Unavailable, StorageFull):
            pass  # which the next sample will tell
        except Exception:
            log.failure(self._failure)


class Sampler(PeriodicSampler):
    """Samples readiness, garbage, connections to Redis and dropped log lines."""

    def __init__(
        self,
        metrics: Metrics,
        readiness: Readiness,
        ledger: Ledger,
        notifier: INotifier,
        clock: IReactorTime,
    ) -> None:
        super().__init__(clock, INTERVAL, "metrics are not up to date")
        self._metrics = metrics
        self._readiness = readiness
        self._ledger = ledger
        self._notifier = notifier
        self._dropped = 0

    async def sample(self) -> None:
        """See :meth:`PeriodicSampler.sample`."""
        metrics = self._metrics
        dropped = dropped_lines()
        metrics.log_lines_dropped.inc(dropped - self._dropped)
        self._dropped = dropped
        metrics.pubsub_connections.set(self._notifier.connections())
        missing = (await self._readiness.report()).missing
        for dependency in DEPENDENCIES:
            metrics.dependency_up.labels(dependency).set(dependency not in missing)
        if "database" not in missing:
            waiting = await self._ledger.garbage(0, COUNTED)
            overdue = await self._ledger.garbage(OVERDUE_SECONDS, COUNTED)
            metrics.garbage_waiting.set(waiting)
            metrics.garbage_overdue.set(overdue)
