"""Worker processes that do only what the test says, and a clock that it moves."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from qabel_block.processes.worker_process import WorkerProcess
from qabel_block.processes.worker_slot import WorkerSlot
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
    """Starts processes, of which the last started is the last in the list."""

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


def finished(work: Any) -> list[Any]:
    """Start a coroutine; return where its result will be."""
    done: list[Any] = []
    Deferred.fromCoroutine(work).addCallback(done.append)
    return done
