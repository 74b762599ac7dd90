"""A worker's place, with a clock that the test moves."""

from __future__ import annotations

from qabel_block.processes.worker_process import AFTER_DRAIN_SECONDS, READY_SECONDS
from qabel_block.processes.worker_slot import LONGEST_DELAY, SHORTEST_DELAY
from tests.unit.processes.support import World, finished


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
    done = finished(place.replace())
    assert len(world.processes) == 2
    assert world.processes[0].heard == b""
    world.processes[1].get_ready()
    assert world.processes[0].heard == b"d"
    assert not done
    world.processes[0].end(status=0)
    assert done == [True]
    world.clock.advance(3600)
    assert len(world.processes) == 2


def test_successor_that_fails() -> None:
    """The old worker stays."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = finished(place.replace())
    world.processes[1].end(status=1)
    assert done == [False]
    assert world.processes[0].heard == b""
    world.processes[0].end(signal=11)
    world.clock.advance(SHORTEST_DELAY)
    assert len(world.processes) == 3


def test_crash_while_being_replaced() -> None:
    """In the end there is one worker, also if the old one crashes meanwhile."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    done = finished(place.replace())
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
    done = finished(place.stop())
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
    assert finished(place.stop())
    world.clock.advance(3600)
    assert len(world.processes) == 1


def test_stop_while_being_replaced() -> None:
    """Both the old and the new worker drain."""
    world = World()
    place = world.place()
    world.processes[0].get_ready()
    replaced = finished(place.replace())
    stopped = finished(place.stop())
    assert [process.heard for process in world.processes] == [b"d", b"d"]
    world.processes[1].get_ready()
    world.processes[0].end(status=0)
    world.processes[1].end(status=0)
    assert stopped
    assert replaced == [False]


def test_replace_after_stop() -> None:
    """Nothing is started to replace a worker that stops."""
    world = World()
    place = world.place()
    stopped = finished(place.stop())
    assert finished(place.replace()) == [False]
    assert len(world.processes) == 1
    world.processes[0].end(status=0)
    assert stopped
