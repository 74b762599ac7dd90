"""What is counted cheaply is what prometheus_client would have counted."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)
from twisted.internet.task import Clock

from qabel_block.metrics.buffered import (
    INTERVAL,
    BufferedCounter,
    BufferedFamily,
    BufferedGauge,
    BufferedHistogram,
    BufferedMetrics,
    BufferedSummary,
)

BOUNDS = (0.5, 1, 2.5)
STEPS = st.one_of(
    st.tuples(st.just("count"), st.floats(0, 100)),
    st.tuples(st.just("up"), st.just(0)),
    st.tuples(st.just("down"), st.just(0)),
    st.tuples(st.just("level"), st.integers(0, 5)),
    st.tuples(st.just("amount"), st.integers(0, 1000)),
    st.tuples(st.just("seconds"), st.sampled_from((0, 0.5, 0.7, 1, 2.4, 2.5, 3))),
    st.tuples(st.just("hand over"), st.just(0)),
)


class _Metrics:
    """One metric of each kind."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counter = Counter("c", "c", registry=self.registry)
        self.gauge = Gauge("g", "g", registry=self.registry)
        self.summary = Summary("s", "s", registry=self.registry)
        self.histogram = Histogram("h", "h", registry=self.registry, buckets=BOUNDS)

    def shown(self) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("le", "")): round(sample.value, 6)
            for family in self.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }


def _ignoring(act: Callable[[], None]) -> Callable[[float], None]:
    return lambda _: act()


@given(st.lists(STEPS))
def test_the_same(steps: list[tuple[str, float]]) -> None:
    """Whatever is counted, and whenever it is handed over, the sums are those that
    prometheus_client has when it counts itself."""
    plain, tallied = _Metrics(), _Metrics()
    buffered = BufferedMetrics()
    count = buffered.add(BufferedCounter(tallied.counter))
    level = buffered.add(BufferedGauge(tallied.gauge))
    amounts = buffered.add(BufferedSummary(tallied.summary))
    distribution = buffered.add(BufferedHistogram(tallied.histogram, BOUNDS))
    actions: dict[str, tuple[Callable[..., None], ...]] = {
        "count": (plain.counter.inc, count.inc),
        "level": (plain.gauge.set, level.set),
        "amount": (plain.summary.observe, amounts.observe),
        "seconds": (plain.histogram.observe, distribution.observe),
        "up": (_ignoring(plain.gauge.inc), _ignoring(level.inc)),
        "down": (_ignoring(plain.gauge.dec), _ignoring(level.dec)),
        "hand over": (_ignoring(buffered.flush),),
    }
    for action, number in steps:
        for act in actions[action]:
            act(number)
    buffered.flush()
    assert tallied.shown() == plain.shown()


def test_labels() -> None:
    """Values of labels have a tally each, which is made once."""
    registry, buffered = CollectorRegistry(), BufferedMetrics()
    family = BufferedFamily(
        Counter("c", "c", ("a", "b"), registry=registry), BufferedCounter, buffered
    )
    family.labels("x", 1).inc()
    family.labels("x", 1).inc(2)
    family.labels("y", 1).inc()
    assert family.labels("x", 1) is family.labels("x", 1)
    buffered.flush()
    shown = generate_latest(registry).decode()
    assert 'c_total{a="x",b="1"} 3.0' in shown
    assert 'c_total{a="y",b="1"} 1.0' in shown


def test_intervals() -> None:
    """What is counted is handed over once a second, and at the end."""
    registry, buffered, clock = CollectorRegistry(), BufferedMetrics(), Clock()
    count = buffered.add(BufferedCounter(Counter("c", "c", registry=registry)))
    buffered.start(clock)
    count.inc()
    assert registry.get_sample_value("c_total") == 0
    clock.advance(INTERVAL)
    assert registry.get_sample_value("c_total") == 1
    count.inc()
    buffered.stop()
    assert registry.get_sample_value("c_total") == 2
    assert clock.getDelayedCalls() == []
