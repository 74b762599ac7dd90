"""Waiting for a thread of which a store that hangs has taken all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock

from qabel_block.errors import Unavailable
from qabel_block.storage.s3.thread_queue import WAIT_SECONDS, ThreadQueue
from qabel_block.util.threads import ThreadPool
from tests.support.clocks import TIMEOUT, running, until


class Call:
    """A call that takes as long as the test wants."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.may_end.wait(TIMEOUT)
        if self._error is not None:
            raise self._error
        return "done"


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    """One thread."""
    threads = ThreadPool(reactor, 1, "test")
    threads.start()
    yield threads
    threads.stop()


@pytest_twisted.ensureDeferred
async def test_turn_that_does_not_come(threads: ThreadPool) -> None:
    """A call whose turn does not come in time fails and is never made."""
    clock = Clock()
    turns = ThreadQueue(threads, clock)
    first, second = Call(), Call()
    calls = [running(turns.run(call)) for call in (first, second)]
    await until(first.begun.is_set)
    clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match="busy"):
        await calls[1]
    first.may_end.set()
    assert await calls[0] == "done"
    assert await turns.run(lambda: "third") == "third"
    assert not second.begun.is_set()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_call_that_has_begun(threads: ThreadPool) -> None:
    """A call that is being made is not given up, however long it takes."""
    clock = Clock()
    turns = ThreadQueue(threads, clock)
    call = Call()
    outcome = running(turns.run(call))
    await until(call.begun.is_set)
    clock.advance(10 * WAIT_SECONDS)
    assert not outcome.called
    call.may_end.set()
    assert await outcome == "done"
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_line_that_moves(threads: ThreadPool) -> None:
    """As long as other calls succeed, nobody in line is given up."""
    clock = Clock()
    turns = ThreadQueue(threads, clock)
    calls = [Call() for _ in range(4)]
    outcomes = [running(turns.run(call)) for call in calls]
    for call, outcome in zip(calls, outcomes, strict=True):
        await until(call.begun.is_set)
        clock.advance(WAIT_SECONDS - 1)
        call.may_end.set()
        assert await outcome == "done"


@pytest_twisted.ensureDeferred
async def test_line_that_only_seems_to_move(threads: ThreadPool) -> None:
    """Calls that fail don't make the others wait any longer."""
    clock = Clock()
    turns = ThreadQueue(threads, clock)
    calls = [Call(Unavailable("storage", "down")) for _ in range(3)]
    outcomes = [running(turns.run(call)) for call in calls]
    await until(calls[0].begun.is_set)
    clock.advance(WAIT_SECONDS - 1)
    calls[0].may_end.set()
    with pytest.raises(Unavailable, match="down"):
        await outcomes[0]
    await until(calls[1].begun.is_set)
    clock.advance(1)
    with pytest.raises(Unavailable, match="busy"):
        await outcomes[2]
    calls[1].may_end.set()
    with pytest.raises(Unavailable, match="down"):
        await outcomes[1]
