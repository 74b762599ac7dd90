"""A worker's place, with a clock that the test moves."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from qabel_block.processes.worker_process import (
    AFTER_DRAIN_SECONDS,
    READY_SECONDS,
    WorkerProcess,
)
from qabel_block.processes.worker_slot import LONGEST_DELAY, SHORTEST_DELAY, WorkerSlot
from qabel_block.processes.worker_spec import READY, REPORTS


@define(eq=False)
class Process:
    """A process as Twisted shows it, which does only what the test says."""

    child: WorkerProcess
    pid: int = 1
    heard: bytes = b""

    def writeToChild(self, _descriptor: int, data: bytes) -> None:
        self.heard += data

    def signalProcess(self, _name: str) -> None:
        self.end(signal=9)

    def get_ready(self) -> None:
        self.child.childDataReceived(REPORTS, READY)

    def end(self, status: int | None = None, signal: int | None = None) -> None:
        self.child.processEnded(Failure(ProcessTerminated(status, signal)))


@define(eq=False)
class World:
    clock: Clock = field(factory=Clock)
    processes: list[Process] = field(factory=list)

    def start(self, _number: int) -> WorkerProcess:
        child = WorkerProcess(self.clock, drain=30.0)
        child.transport = Process(child)
        self.processes.append(child.transport)
        return child

    def place(self) -> WorkerSlot:
        place = WorkerSlot(1, self.start, self.clock)
        place.fill()
        return place


def _done(work: Any) -> list[None]:
    done: list[None] = []
    Deferred.fromCoroutine(work).addCallback(done.append)
    return done


def test_backoff() -> None:
    """A worker that fails again and again is started at growing intervals, up to
    a limit; one that has lived long enough, at the shortest again."""
    world = World()
    world.place()
    delay = SHORTEST_DELAY
    for count in range(1, 12):
        world.processes[-1].end(status=1)
        world.clock.advance(delay - 0.01)
        assert len(world.processes) == count
        world.clock.advance(0.01)
        assert len(world.processes) == count + 1
        delay = min(delay * 2, LONGEST_DELAY)
    world.processes[-1].get_ready()
    world.clock.advance(3600)
    world.processes[-1].end(signal=11)
    world.clock.advance(SHORTEST_DELAY)
    assert len(world.processes) == 13


def test_worker_that_hangs_at_its_start() -> None:
    """It is killed, and another is started."""
    world = World()
    world.place()
    world.clock.advance(READY_SECONDS)
    world.clock.advance(SHORTEST_DELAY)
    assert len(world.processes) == 2


def test_replace() -> None:
    """The old worker drains when the new one is ready, not before."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = _done(place.replace())
    assert len(world.processes) == 2
    assert world.processes[0].heard == b""
    world.processes[1].get_ready()
    assert world.processes[0].heard == b"d"
    assert not done
    world.processes[0].end(status=0)
    assert done
    world.clock.advance(3600)
    assert len(world.processes) == 2


def test_successor_that_fails() -> None:
    """The old worker stays."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = _done(place.replace())
    world.processes[1].end(status=1)
    assert done
    assert world.processes[0].heard == b""
    world.processes[0].end(signal=11)
    world.clock.advance(SHORTEST_DELAY)
    assert len(world.processes) == 3


def test_crash_while_being_replaced() -> None:
    """In the end there is one worker, also if the old one crashes meanwhile."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = _done(place.replace())
    world.processes[0].end(signal=11)
    world.processes[1].get_ready()
    assert done
    world.clock.advance(3600)
    assert len(world.processes) == 2


def test_stop() -> None:
    """Stopping drains the worker and starts no other; one that does not end is
    killed."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = _done(place.stop())
    assert world.processes[0].heard == b"d"
    assert not done
    world.clock.advance(30.0 + AFTER_DRAIN_SECONDS)
    assert done
    world.clock.advance(3600)
    assert len(world.processes) == 1


def test_stop_while_waiting_for_the_next() -> None:
    """Nothing is started after the stop."""
    world = World()
    place = world.place()
    world.processes[0].end(status=1)
    assert _done(place.stop())
    world.clock.advance(3600)
    assert len(world.processes) == 1


def test_stop_while_being_replaced() -> None:
    """Both the old and the new worker drain."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    replaced = _done(place.replace())
    stopped = _done(place.stop())
    assert [process.heard for process in world.processes] == [b"d", b"d"]
    world.processes[1].get_ready()
    world.processes[0].end(status=0)
    world.processes[1].end(status=0)
    assert stopped
    assert replaced
