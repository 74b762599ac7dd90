"""Samples gauges at intervals: readiness, garbage, dropped log lines."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from qabel_block.errors import Unavailable
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


class Sampler:
    """Keeps some gauges up to date.

    :param clock: for the intervals.
    """

    def __init__(
        self,
        metrics: Metrics,
        readiness: Readiness,
        ledger: Ledger,
        notifier: INotifier,
        clock: IReactorTime,
    ) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._ledger = ledger
        self._notifier = notifier
        self._dropped = 0
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._try_to_sample()))
        self._loop.clock = clock

    def start(self) -> None:
        """Look now, and again at every interval."""
        self._loop.start(INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    async def sample(self) -> None:
        """Look once."""
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

    async def _try_to_sample(self) -> None:
        try:
            await self.sample()
        except Unavailable:
            pass  # which the next look will tell
        except Exception:
            log.failure("metrics are not up to date")
