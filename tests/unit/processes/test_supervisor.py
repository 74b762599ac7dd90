"""The supervisor of two workers, which do only what the test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import pytest
from attrs import define, field
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogPublisher,
)

from qabel_block.listening.listeners import Listeners
from qabel_block.processes.launcher import Launcher
from qabel_block.processes.supervisor import Supervisor
from qabel_block.server.lifecycle import LifecycleCommands
from tests.unit.processes.support import World, finished


@define(eq=False)
class LaunchingWorld(World):
    """Takes the launcher's place."""

    def prepare(self, sockets: Sequence[int]) -> None: ...
    def close(self) -> None: ...


@define(eq=False)
class Control:
    """Takes note of what can be commanded."""

    given: list[LifecycleCommands] = field(factory=list)

    def start(self, commands: LifecycleCommands) -> None:
        self.given.append(commands)

    def ready(self) -> None: ...
    def stopping(self) -> None: ...


@define(eq=False)
class Subject:
    """A supervisor whose two workers are ready.

    :ivar reloaded: what SIGHUP does; there is something in it when that is done.
    """

    world: LaunchingWorld
    supervisor: Supervisor
    commands: LifecycleCommands
    logged: list[LogEvent]

    def reload(self) -> list[None]:
        return finished(self.commands.reload())

    def said(self, level: LogLevel) -> list[str]:
        """Return what has been logged with a level."""
        return [str(formatEvent(e)) for e in self.logged if e["log_level"] == level]


@pytest.fixture
def subject() -> Iterator[Subject]:
    logged: list[LogEvent] = []
    observer = cast(ILogObserver, logged.append)
    world, control, reactor = LaunchingWorld(), Control(), MemoryReactorClock()
    supervisor = Supervisor(
        Listeners(reactor, [], Factory()), cast(Launcher, world), control, 2, reactor
    )
    supervisor.startService()
    reactor.run()
    for process in world.processes:
        process.get_ready()
    globalLogPublisher.addObserver(observer)
    yield Subject(world, supervisor, control.given[0], logged)
    globalLogPublisher.removeObserver(observer)


def test_all_replaced(subject: Subject) -> None:
    """That all workers have been replaced is logged when they have been."""
    done = subject.reload()
    for number in range(2):
        assert not done
        assert subject.said(LogLevel.info) == []
        subject.world.processes[2 + number].get_ready()
        subject.world.processes[number].end(status=0)
    assert done
    assert subject.said(LogLevel.info) == ["all workers have been replaced"]


def test_not_all_replaced(subject: Subject) -> None:
    """If a successor fails the other workers are replaced, and the log tells which
    one was not."""
    done = subject.reload()
    subject.world.processes[2].end(status=1)
    subject.world.processes[3].get_ready()
    subject.world.processes[1].end(status=0)
    assert done
    assert subject.said(LogLevel.error) == ["worker 1 stays: its successor failed"]
    assert subject.said(LogLevel.warn) == ["not replaced: worker 1"]
    assert subject.said(LogLevel.info) == []


def test_stopped_while_it_replaces(subject: Subject) -> None:
    """A stop ends the replacement: the successor does not count as failed, and the
    log tells which workers were not replaced."""
    done = subject.reload()
    stopped: list[None] = []
    subject.supervisor.stopService().addCallback(stopped.append)
    for process in subject.world.processes:
        process.end(status=0)
    assert done
    assert stopped
    assert len(subject.world.processes) == 3
    assert subject.said(LogLevel.error) == []
    assert subject.said(LogLevel.info) == [
        "stopping 2 workers",
        "not replaced, since they stop: worker 1, worker 2",
    ]
