"""Starts worker processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.reactors import getReactorTypes
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from qabel_block.metrics.multiprocess import MultiprocessMetrics
from qabel_block.processes.balancing import ABSENT, ConnectionTable, new_table
from qabel_block.processes.worker_process import WorkerProcess
from qabel_block.processes.worker_spec import COMMANDS, REPORTS, WorkerSpec

log = Logger()

FIRST_DESCRIPTOR = 5
"""Where what a worker inherits begins, after the standard files and the pipes."""

_OF_THE_SUPERVISOR = frozenset(
    {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "PYTHONSAFEPATH"}
)


class Launcher:
    """Starts workers.

    :param arguments: the options as they were typed.
    :param count: how many workers there are, but for the moment in which one is
        replaced.
    :param drain: seconds they give to what is under way when they stop.
    :param metrics: what they count, if that is wanted.
    """

    def __init__(
        self,
        reactor: Any,
        arguments: Sequence[str],
        count: int,
        drain: float,
        metrics: MultiprocessMetrics | None = None,
    ) -> None:
        self._reactor = reactor
        self._metrics = metrics
        self._drain = drain
        self._directory = os.getcwd()  # twistd will change it
        self._path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        self._command = [
            *(sys.executable, "-P", "-m", "twisted"),
            *_reactor_option(reactor),
            *("qabel-block", *arguments),
        ]
        # Every worker that is replaced has its successor beside it.
        self._free = list(range(2 * count))
        self._file = new_table(2 * count)
        self._table = ConnectionTable(self._file)
        self._sockets: Sequence[int] = ()

    def prepare(self, sockets: Sequence[int]) -> None:
        """Make ready to start workers, which will listen on these sockets."""
        self._sockets = sockets
        if self._metrics is not None:
            self._metrics.start()

    def close(self) -> None:
        """Clean up after the last worker is gone."""
        if self._metrics is not None:
            self._metrics.stop()

    def start(self, number: int) -> WorkerProcess:
        """Start a worker."""
        process = WorkerProcess(self._reactor, self._drain)
        slot = self._free.pop()
        inherited = (self._file, *self._sockets)
        places = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + len(inherited))
        metrics = self._metrics
        directory = metrics.directory if metrics is not None else None
        spec = WorkerSpec(number, places[0], slot, tuple(places[1:]), directory)
        self._reactor.spawnProcess(
            process,
            self._command[0],
            self._command,
            env={**self._environment(), **spec.to_environment()},
            path=self._directory,
            childFDs={
                0: 0,
                1: 1,
                2: 2,
                REPORTS: "r",
                COMMANDS: "w",
                **dict(zip(places, inherited, strict=True)),
            },
        )
        log.info("worker {number} is process {pid}", number=number, pid=process.pid)

        if metrics is not None and process.pid is not None:
            metrics.began(slot, process.pid)

        async def give_back_slot() -> None:
            await process.gone.wait()
            if metrics is not None:
                metrics.ended(slot)
            self._table[slot] = ABSENT
            self._free.append(slot)

        Deferred.fromCoroutine(give_back_slot())
        return process

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in _OF_THE_SUPERVISOR}
        return {**kept, "PYTHONPATH": self._path}


def _reactor_option(reactor: Any) -> list[str]:
    module = type(reactor).__module__
    return [
        f"--reactor={kind.shortName}"
        for kind in getReactorTypes()
        if getattr(kind, "moduleName", None) == module
    ][:1]
