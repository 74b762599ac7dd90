"""A worker's end of the pipes to its supervisor."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from qabel_block.processes.worker_spec import COMMANDS, CUT, DRAIN, READY, REPORTS
from qabel_block.server.lifecycle import LifecycleCommands


class WorkerLifecycle(Protocol):
    """Stops the worker when its supervisor says so, or is no more.

    Signals are the supervisor's business: those of a terminal or of systemd reach
    all processes, and must not count twice.
    """

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._commands: LifecycleCommands | None = None

    def start(self, commands: LifecycleCommands) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.start`."""
        self._commands = commands
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The reactor installs its own handler of SIGTERM when it begins to run.
        self._reactor.callWhenRunning(self._begin)

    def ready(self) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.ready`."""
        self.transport.write(READY)

    def stopping(self) -> None:
        """See :meth:`~qabel_block.server.lifecycle.Lifecycle.stopping`."""

    def dataReceived(self, data: bytes) -> None:
        if DRAIN in data:
            self._stop()
        if CUT in data and self._commands is not None:
            self._commands.abort_inflight()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()

    def _begin(self) -> None:
        signal.signal(
            signal.SIGTERM, lambda *_: self._reactor.callFromThread(self._stop)
        )
        StandardIO(  # type: ignore[call-arg]  # mypy sees that of Windows
            self, stdin=COMMANDS, stdout=REPORTS, reactor=self._reactor
        )

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):
            self._reactor.stop()
