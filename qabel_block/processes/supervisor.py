"""The supervisor: opens the sockets, starts, replaces and stops workers."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from qabel_block.listening.endpoints import CannotListen
from qabel_block.listening.listeners import Listeners
from qabel_block.processes.launcher import Launcher
from qabel_block.processes.worker_slot import WorkerSlot
from qabel_block.server.lifecycle import Lifecycle, LifecycleCommands

log = Logger()


class Supervisor(Service):
    """Opens the sockets, and starts, replaces and stops the workers.

    A connection that no worker has accepted yet waits in a socket, which stays
    open as long as the supervisor runs; so none is lost when workers come and go.

    :param listeners: are only opened here, not accepted from.
    """

    def __init__(
        self,
        listeners: Listeners,
        launcher: Launcher,
        control: Lifecycle,
        count: int,
        reactor: Any,
    ) -> None:
        self._listeners = listeners
        self._launcher = launcher
        self._control = control
        self._slots = [
            WorkerSlot(number, launcher.start, reactor)
            for number in range(1, count + 1)
        ]
        self._reactor = reactor

    def privilegedStartService(self) -> None:
        """Open the sockets while ``twistd`` still has its privileges.

        :raises SystemExit: with one line, if that can't be done.
        """
        super().privilegedStartService()
        self._open()

    def startService(self) -> None:
        """Open the sockets and start the workers.

        :raises SystemExit: with one line, if a socket can't be had.
        """
        super().startService()
        self._control.start(LifecycleCommands(self._abort_inflight, self._replace))
        self._open()
        self._launcher.prepare(self._listeners.descriptors())
        # Only a running reactor hears of the end of a process.
        self._reactor.callWhenRunning(self._start)

    def stopService(self) -> Deferred[None]:
        """Let all workers drain."""
        super().stopService()
        self._control.stopping()
        return Deferred.fromCoroutine(self._stop())

    def _open(self) -> None:
        try:
            self._listeners.open()
        except CannotListen as error:
            raise SystemExit(f"qabel-block: {error}") from error

    def _start(self) -> None:
        for slot in self._slots:
            slot.fill()
        Deferred.fromCoroutine(self._tell_when_ready())

    async def _tell_when_ready(self) -> None:
        for slot in self._slots:
            await slot.ready.wait()
        self._listeners.announce()
        self._control.ready()

    async def _stop(self) -> None:
        log.info("stopping {count} workers", count=len(self._slots))
        self._listeners.close()
        await DeferredList(
            [Deferred.fromCoroutine(slot.stop()) for slot in self._slots]
        )
        self._launcher.close()

    def _abort_inflight(self) -> None:
        log.warn("told again to stop: requests under way are cut off")
        for slot in self._slots:
            slot.abort_inflight()

    async def _replace(self) -> None:
        kept = [
            f"worker {slot.number}" for slot in self._slots if not await slot.replace()
        ]
        if not kept:
            log.info("all workers have been replaced")
        elif self.running:
            log.warn("not replaced: {workers}", workers=", ".join(kept))
        else:
            log.info(
                "not replaced, since they stop: {workers}", workers=", ".join(kept)
            )
