"""Waiting together."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from qabel_block.errors import Unavailable
from qabel_block.util.event import Event, Waiters


def _outcomes(*waiting: Deferred[int]) -> list[object]:
    outcomes: list[object] = []
    for one in waiting:
        one.addCallbacks(
            outcomes.append, lambda failure: outcomes.append(failure.value)
        )
    return outcomes


def test_one_result_for_all() -> None:
    """All that wait get the result, and nobody who comes later."""
    waiters = Waiters[int]()
    outcomes = _outcomes(waiters.wait(), waiters.wait())
    assert waiters
    waiters.wake(1)
    assert outcomes == [1, 1]
    assert not waiters
    later = _outcomes(waiters.wait())
    assert later == []


def test_one_failure_for_all() -> None:
    """Each gets an error of its own, with a traceback of its own."""
    waiters = Waiters[int]()
    outcomes = _outcomes(waiters.wait(), waiters.wait())
    waiters.fail(Unavailable("cache", "why"))
    first, second = outcomes
    assert isinstance(first, Unavailable)
    assert isinstance(second, Unavailable)
    assert first is not second
    assert str(first) == str(second)


def test_cancelled() -> None:
    """Who is cancelled waits no more; the others do."""
    waiters = Waiters[int]()
    cancelled, other = waiters.wait(), waiters.wait()
    outcomes = _outcomes(cancelled, other)
    cancelled.cancel()
    waiters.wake(1)
    assert isinstance(outcomes[0], CancelledError)
    assert outcomes[1:] == [1]


def test_who_waits_again() -> None:
    """Who waits again when it is told waits for the next result."""
    waiters = Waiters[int]()
    again: list[Deferred[int]] = []
    waiters.wait().addCallback(lambda _: again.append(waiters.wait()))
    waiters.wake(1)
    assert _outcomes(*again) == []


def test_event() -> None:
    """An event is waited for until it happens, and never after."""
    event = Event()
    happened: list[str] = []
    Deferred.fromCoroutine(event.wait()).addCallback(lambda _: happened.append("1"))
    assert happened == []
    event.set()
    Deferred.fromCoroutine(event.wait()).addCallback(lambda _: happened.append("2"))
    assert happened == ["1", "2"]
