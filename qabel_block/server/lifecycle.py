"""Signals and notifications between a server and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.logger import Logger

from qabel_block.log.handlers import reopen_logs
from qabel_block.server.signals import handle_signals
from qabel_block.server.systemd import SystemdNotifier

log = Logger()


@frozen
class LifecycleCommands:
    """What a server can be told once it runs.

    :ivar abort_inflight: cut off what is under way; only while it stops.
    :ivar reload: take on what has changed since it was started.
    """

    abort_inflight: Callable[[], None]
    reload: Callable[[], Coroutine[Deferred[Any], Any, None]]


class Lifecycle(Protocol):
    """Stops the reactor when the server is to end."""

    def start(self, commands: LifecycleCommands) -> None:
        """Begin to give commands."""

    def ready(self) -> None:
        """Take note that requests are served."""

    def stopping(self) -> None:
        """Take note that the server ends, for whatever reason."""


class SignalLifecycle:
    """Control of a process that stands alone: signals, and systemd."""

    def __init__(self, reactor: Any, notifier: SystemdNotifier) -> None:
        self._reactor = reactor
        self._notifier = notifier
        self._one_reload = DeferredLock()

    def start(self, commands: LifecycleCommands) -> None:
        """See :meth:`Lifecycle.start`."""

        def reload() -> None:
            if self._one_reload.waiting:
                return  # the one that waits sees what there is to see
            reloading = self._one_reload.run(ensureDeferred, self._reload(commands))
            reloading.addErrback(_broken)

        handle_signals(self._reactor, commands.abort_inflight, reload)

    def ready(self) -> None:
        """See :meth:`Lifecycle.ready`."""
        self._notifier.ready()

    def stopping(self) -> None:
        """See :meth:`Lifecycle.stopping`."""
        self._notifier.stopping()

    async def _reload(self, commands: LifecycleCommands) -> None:
        self._notifier.reloading()
        reopen_logs()
        await commands.reload()
        self._notifier.ready()


def _broken(failure: Any) -> None:
    log.failure("not everything is reloaded", failure=failure)
