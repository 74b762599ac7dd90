"""Traffic is counted in memory and written in batches."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from qabel_block.errors import OutcomeUnknown, Unavailable
from qabel_block.model import TrafficCount
from qabel_block.operations.traffic import INTERVAL, TrafficMeter
from tests.integration.ledger.support import logged

JANUARY = "1970-01-01"


@define
class Ledger:
    """Takes batches, or fails as it is told; answers when it is told."""

    written: list[TrafficCount] = field(factory=list)
    failure: Exception | None = None
    answer: Deferred[None] | None = None

    async def write(self, counts: Sequence[TrafficCount]) -> None:
        if self.answer is not None:
            await self.answer
        if self.failure is not None:
            raise self.failure
        self.written += counts


def _meter(ledger: Ledger) -> tuple[TrafficMeter, Clock]:
    clock = Clock()
    meter = TrafficMeter(ledger.write, clock, clock.seconds)
    meter.start()
    return meter, clock


def test_one_batch_an_interval() -> None:
    """What is counted within an interval is one sum for each owner."""
    ledger = Ledger()
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    meter.add(2, 5)
    meter.add(1, 3)
    assert meter.unwritten(meter.moment(), 1, JANUARY) == 13
    assert ledger.written == []
    clock.advance(INTERVAL)
    assert sorted(ledger.written, key=lambda count: count.user_id) == [
        TrafficCount(1, JANUARY, 13),
        TrafficCount(2, JANUARY, 5),
    ]
    assert meter.unwritten(meter.moment(), 1, JANUARY) == 0
    clock.advance(INTERVAL)
    assert len(ledger.written) == 2


def test_months() -> None:
    """Bytes count for the month in which they are sent."""
    ledger = Ledger()
    meter, clock = _meter(ledger)
    clock.advance(31 * 86400 - 1)
    meter.add(1, 10)
    clock.rightNow += 1  # the month ends before the batch is written
    meter.add(1, 7)
    clock.advance(INTERVAL)
    assert sorted(ledger.written, key=lambda count: count.month) == [
        TrafficCount(1, "1970-01-01", 10),
        TrafficCount(1, "1970-02-01", 7),
    ]


def test_kept_while_the_ledger_is_down() -> None:
    """A batch that the ledger can't take is written later, and counts."""
    ledger = Ledger(failure=Unavailable("database", "down"))
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    clock.advance(INTERVAL)
    meter.add(1, 1)
    assert meter.unwritten(meter.moment(), 1, JANUARY) == 11
    ledger.failure = None
    clock.advance(INTERVAL)
    assert ledger.written == [TrafficCount(1, JANUARY, 11)]


@pytest.mark.parametrize("failure", [Unavailable("database", "down"), ValueError()])
def test_logged_once(failure: Exception) -> None:
    """That batches can't be written is logged once, and again when they can be."""
    ledger = Ledger(failure=failure)
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    with logged() as events:
        clock.pump([INTERVAL] * 5)
        assert [event["log_level"].name for event in events] == [
            "warn" if isinstance(failure, Unavailable) else "critical"
        ]
        ledger.failure = None
        meter.add(1, 10)
        clock.pump([INTERVAL] * 2)
        assert [event["log_level"].name for event in events[1:]] == ["info"]
        ledger.failure = failure
        meter.add(1, 10)
        clock.pump([INTERVAL] * 5)
    assert len(events) == 3


def test_lost_at_the_end() -> None:
    """What can't be written when the server stops is lost, and the log says how much;
    it does not say that it is kept."""
    ledger = Ledger(failure=Unavailable("database", "down"))
    meter, _clock = _meter(ledger)
    meter.add(1, 10)
    meter.add(2, 5)
    with logged() as events:
        stopped = Deferred.fromCoroutine(meter.stop())
    assert stopped.called
    lines = [formatEvent(event) for event in events]
    assert lines[-1] == "15 bytes of traffic are lost"
    assert not any("later" in line for line in lines)


def test_never_paid_twice() -> None:
    """A batch that may have been written is not written again."""
    ledger = Ledger(failure=OutcomeUnknown("database", "lost"))
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    clock.advance(INTERVAL)
    ledger.failure = None
    clock.advance(INTERVAL)
    assert ledger.written == []
    assert meter.unwritten(meter.moment(), 1, JANUARY) == 0


def test_bytes_on_their_way_are_counted() -> None:
    """While a batch is on its way its bytes are still counted here, though they may
    be in the ledger."""
    ledger = Ledger(answer=Deferred())
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    clock.advance(INTERVAL)
    meter.add(1, 1)
    asked = meter.moment()
    assert meter.unwritten(asked, 1, JANUARY) == 11
    settled = Deferred.fromCoroutine(meter.settled())
    assert not settled.called
    assert ledger.answer is not None
    ledger.answer.callback(None)
    assert settled.called
    assert not meter.is_exact(asked)
    assert meter.unwritten(meter.moment(), 1, JANUARY) == 1
    assert meter.is_exact(meter.moment())


@pytest.mark.parametrize("failure", [None, Unavailable("database", "down")])
def test_batches_written_while_the_ledger_is_asked(failure: Exception | None) -> None:
    """What was written after the ledger was asked may be missing in its answer, and
    is counted here; nothing is counted twice here."""
    ledger = Ledger(failure=failure)
    meter, clock = _meter(ledger)
    meter.add(1, 10)
    asked = meter.moment()
    assert meter.is_exact(asked)
    for traffic in (200, 3000):
        clock.advance(INTERVAL)
        meter.add(1, traffic)
    assert meter.unwritten(asked, 1, JANUARY) == 3210
    assert not meter.is_exact(asked)


def test_stop_writes_the_rest() -> None:
    """What is counted when the server stops is written then."""
    ledger = Ledger()
    meter, _clock = _meter(ledger)
    meter.add(1, 10)
    stopped = Deferred.fromCoroutine(meter.stop())
    assert stopped.called
    assert ledger.written == [TrafficCount(1, JANUARY, 10)]
