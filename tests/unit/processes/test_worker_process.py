"""A worker process as its supervisor talks to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from qabel_block.processes.worker_process import AFTER_DRAIN_SECONDS, WorkerProcess


class _Unreaped:
    """A process that has ended, and of which nobody has heard that yet: Twisted has
    forgotten its pipes."""

    def __init__(self) -> None:
        self.pipes: dict[int, Any] = {}
        self.signals: list[str] = []

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        self.pipes[descriptor].write(data)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


def test_worker_without_a_pipe() -> None:
    """What it is told is lost, without an error that would keep the others from
    being told; if it does not end it is killed like any other."""
    clock = Clock()
    worker = WorkerProcess(clock, drain=30.0)
    worker.transport = _Unreaped()
    worker.drain()
    worker.abort_inflight()
    clock.advance(30.0 + AFTER_DRAIN_SECONDS)
    assert worker.transport.signals == ["KILL"]
