"""A worker process, from its supervisor's side."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.python.failure import Failure

from qabel_block.processes.worker_spec import COMMANDS, CUT, DRAIN, READY, REPORTS
from qabel_block.util.event import Event

READY_SECONDS = 60.0
"""A worker that is not ready after this is killed: it hangs."""

AFTER_DRAIN_SECONDS = 90.0
"""A worker that has not ended so long after it should have is killed."""


class WorkerProcess(ProcessProtocol):
    """A worker process.

    :param drain: seconds it gives to what is under way when it stops.
    :ivar began: when it was started.
    :ivar ready: whether it accepts connections.
    :ivar gone: whether it has ended; ``status`` then says how.
    """

    transport: Any

    def __init__(self, clock: Any, drain: float) -> None:
        self.began: float = clock.seconds()
        self.ready = Event()
        self.gone = Event()
        self.status = ""
        self._clock = clock
        self._drain = drain
        self._limit: IDelayedCall = clock.callLater(READY_SECONDS, self.kill)

    @property
    def pid(self) -> int | None:
        pid: int | None = self.transport.pid
        return pid

    def drain(self) -> None:
        """Tell it to stop."""
        self._write(DRAIN)
        self._limit_to(self._drain + AFTER_DRAIN_SECONDS)

    def abort_inflight(self) -> None:
        """Tell it not to wait for what is under way."""
        self._write(CUT)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        if descriptor == REPORTS and READY in data:
            if self._limit.active():
                self._limit.cancel()
            self.ready.set()

    def processEnded(self, reason: Failure = connectionDone) -> None:
        if self._limit.active():
            self._limit.cancel()
        ended: Any = reason.value
        self.status = f"signal {ended.signal}" if ended.signal else str(ended.exitCode)
        self.gone.set()

    def _write(self, command: bytes) -> None:
        # Without its pipe it ends by itself, or has ended and is not reaped yet.
        with suppress(KeyError):
            self.transport.writeToChild(COMMANDS, command)

    def _limit_to(self, seconds: float) -> None:
        if self._limit.active():
            self._limit.cancel()
        if not self.gone.is_set:
            self._limit = self._clock.callLater(seconds, self.kill)
