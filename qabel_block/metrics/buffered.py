"""Counts that cost next to nothing, handed to prometheus_client now and then.

What prometheus_client counts with is made for threads and for several processes: each
step takes a lock and, where processes share what they count, is packed into a file. A
request takes a dozen of such steps. Here they are plain additions, on the reactor's
thread only, whose sums are handed over once a second and before somebody looks.

Many observations are handed over at once, for which prometheus_client has no call:
this module, and no other, leans on ``Histogram._buckets``, ``Histogram._sum``,
``Summary._count`` and ``Summary._sum``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Summary
from prometheus_client.metrics import MetricWrapperBase
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

INTERVAL = 1.0
"""Seconds between two times of handing over: what a crash may forget."""


class BufferedMetric(Protocol):
    """Something that has counted."""

    def flush(self) -> None:
        """Hand over what was counted since the last time."""


class BufferedCounter:
    """A counter."""

    def __init__(self, metric: Counter) -> None:
        self._metric = metric
        self._more: float = 0

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self._more += amount

    def flush(self) -> None:
        """See :meth:`BufferedMetric.flush`."""
        if self._more:
            self._metric.inc(self._more)
            self._more = 0


class BufferedGauge:
    """A gauge, at 0 to begin with."""

    def __init__(self, metric: Gauge) -> None:
        self._metric = metric
        self._value: float = 0
        self._handed_over: float = 0

    def inc(self) -> None:
        """Add one."""
        self._value += 1

    def dec(self) -> None:
        """Take one away."""
        self._value -= 1

    def set(self, value: float) -> None:
        """Let it be this."""
        self._value = value

    def flush(self) -> None:
        """See :meth:`BufferedMetric.flush`."""
        if self._value != self._handed_over:
            self._metric.set(self._value)
            self._handed_over = self._value


class BufferedSummary:
    """A summary."""

    def __init__(self, metric: Summary) -> None:
        self._metric: Any = metric
        self._count = 0
        self._sum: float = 0

    def observe(self, amount: float) -> None:
        """Add an observation."""
        self._count += 1
        self._sum += amount

    def flush(self) -> None:
        """See :meth:`BufferedMetric.flush`."""
        if self._count:
            self._metric._count.inc(self._count)
            self._metric._sum.inc(self._sum)
            self._count, self._sum = 0, 0


class BufferedHistogram:
    """A histogram.

    :param bounds: the upper bounds of its buckets but the last.
    """

    def __init__(self, metric: Histogram, bounds: tuple[float, ...]) -> None:
        self._metric: Any = metric
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum: float = 0

    def observe(self, amount: float) -> None:
        """Add an observation."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def flush(self) -> None:
        """See :meth:`BufferedMetric.flush`."""
        if not any(self._counts):
            return
        buckets = zip(self._metric._buckets, self._counts, strict=True)
        for bucket, count in buckets:
            if count:
                bucket.inc(count)
        self._metric._sum.inc(self._sum)
        self._counts = [0] * len(self._counts)
        self._sum = 0


T = TypeVar("T", bound=BufferedMetric)


class BufferedFamily(Generic[T]):
    """A metric with labels.

    :param child: makes the child of a labelled metric.
    """

    def __init__(
        self,
        metric: MetricWrapperBase,
        child: Callable[[Any], T],
        buffered: BufferedMetrics,
    ) -> None:
        self._metric = metric
        self._child = child
        self._metrics = buffered
        self._children: dict[tuple[object, ...], T] = {}

    def labels(self, *values: object) -> T:
        """Return the child for these values of the labels, in their order."""
        child = self._children.get(values)
        if child is None:
            child = self._child(self._metric.labels(*values))
            self._children[values] = child
            self._metrics.add(child)
        return child


class BufferedMetrics:
    """All metrics of a process."""

    def __init__(self) -> None:
        self._all: list[BufferedMetric] = []
        self._loop = LoopingCall(self.flush)

    def add(self, child: T) -> T:
        """Take care of one more, and return it."""
        self._all.append(child)
        return child

    def flush(self) -> None:
        """Hand over what all of them have counted."""
        for child in self._all:
            child.flush()

    def start(self, clock: IReactorTime) -> None:
        """Hand over at every interval."""
        self._loop.clock = clock
        self._loop.start(INTERVAL)

    def stop(self) -> None:
        """Hand over for the last time."""
        if self._loop.running:
            self._loop.stop()
        self.flush()
