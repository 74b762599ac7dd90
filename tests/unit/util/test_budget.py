"""The time that a request may wait in all."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.errors import Unavailable
from qabel_block.util.batching import BatchQueue
from qabel_block.util.budget import (
    Budget,
    spending,
    time_left,
    time_left_unless_transferring,
    transferring,
    until_spent,
    within_budget,
)
from qabel_block.util.keyed_lock import KeyedLock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failure_of(waiting: Deferred[Any]) -> object:
    """Return the kind of error that something has ended in."""
    kinds: list[object] = []
    waiting.addErrback(lambda failure: kinds.append(failure.type))
    return kinds[0]


def test_waits_take_what_is_left(clock: Clock) -> None:
    """A wait has the limit of its own, or what those before it have left."""
    assert time_left(8) == 8
    with spending(Budget(clock)):
        assert time_left(8) == 8
        clock.advance(10)
        assert time_left(8) == time_left_unless_transferring(8) == 5
        clock.advance(10)
        assert time_left(8) == 0
    assert time_left(8) == 8


def test_transfers_take_nothing(clock: Clock) -> None:
    """While a body is transferred no time goes by, and each wait has its limit."""
    with spending(Budget(clock)):
        clock.advance(10)
        with transferring():
            clock.advance(3600)
            with transferring():
                clock.advance(1)
            assert time_left(12) == 5
            assert time_left_unless_transferring(120) == 120
        assert time_left(12) == 5
        clock.advance(1)
        assert time_left(12) == time_left_unless_transferring(120) == 4
    with transferring():
        assert time_left_unless_transferring(120) == 120


def test_goes_along_with_coroutines(clock: Clock) -> None:
    """Whatever a handler awaits finds its budget, and no other's, whoever goes on
    first."""
    seen: list[float] = []

    async def wait(gate: Deferred[None]) -> None:
        await gate
        seen.append(time_left(100))

    async def handler(gate: Deferred[None]) -> None:
        await Deferred.fromCoroutine(wait(gate))
        seen.append(time_left(100))

    gates: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
    for gate in gates[:2]:
        with spending(Budget(clock)):
            Deferred.fromCoroutine(handler(gate))
        clock.advance(5)
    Deferred.fromCoroutine(handler(gates[2]))
    for gate in reversed(gates):
        gate.callback(None)
    assert seen == [100, 100, 10, 10, 5, 5]


def test_needless_timers(clock: Clock) -> None:
    """There is a timer only where the budget may be spent before the answer comes."""
    with spending(Budget(clock)):
        within_budget(Deferred[None](), 13)
        assert clock.getDelayedCalls() == []
        clock.advance(3)
        waiting = within_budget(Deferred[None](), 13)
        clock.advance(12)
    assert failure_of(waiting) is Unavailable


def test_work_that_must_end(clock: Clock) -> None:
    """Work that has begun goes on after the budget is spent, but nobody waits."""
    events: list[Deferred[None]] = [Deferred(), Deferred()]
    done: list[int] = []

    async def work(n: int) -> int:
        await events[n]
        done.append(n)
        return n

    with spending(Budget(clock)):
        waiting = [until_spent(work(n)) for n in range(2)]
    events[0].callback(None)
    clock.advance(15)
    assert waiting[0].result == 0
    assert failure_of(waiting[1]) is Unavailable
    events[1].callback(None)
    assert done == [0, 1]
    assert clock.getDelayedCalls() == []


def test_batches_have_none(clock: Clock) -> None:
    """A batch is not cut short by the budget of whoever asked first, who is told in
    time."""
    seen: list[float] = []
    answer: Deferred[list[str]] = Deferred()

    async def ask(questions: object) -> list[str]:
        seen.append(time_left(100))
        return await answer

    queue: BatchQueue[str, str] = BatchQueue(ask)
    with spending(Budget(clock)):
        clock.advance(14)
        asked = queue.ask("a")
    clock.advance(1)
    asked.addErrback(lambda failure: failure.trap(Unavailable) and None)
    assert asked.called
    answer.callback(["b"])
    assert seen == [100]


def test_turns(clock: Clock) -> None:
    """Nobody waits for a turn when the time is up."""
    locks = KeyedLock(clock)

    async def hold(gate: Deferred[None]) -> None:
        async with locks.hold("a"):
            await gate

    Deferred.fromCoroutine(hold(Deferred()))
    with spending(Budget(clock)):
        clock.advance(13)
        waiting = Deferred.fromCoroutine(hold(Deferred()))
    clock.advance(1.9)
    assert not waiting.called
    clock.advance(0.1)
    assert failure_of(waiting) is Unavailable
