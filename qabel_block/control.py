"""Who tells a server what to do, and hears from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from qabel_block.signals import handle_signals
from qabel_block.systemd import Notifier


@frozen
class Commands:
    """What a server can be told once it runs.

    :ivar hurry: cut off what is under way; only while it stops.
    :ivar reload: read again what may change while it runs.
    """

    hurry: Callable[[], None]
    reload: Callable[[], None]


class Control(Protocol):
    """Stops the reactor when the server is to end."""

    def start(self, commands: Commands) -> None:
        """Begin to give commands."""

    def ready(self) -> None:
        """Take note that requests are served."""

    def stopping(self) -> None:
        """Take note that the server ends, for whatever reason."""


class SignalControl:
    """Control of a process that stands alone: signals, and systemd."""

    def __init__(self, reactor: Any, notifier: Notifier) -> None:
        self._reactor = reactor
        self._notifier = notifier

    def start(self, commands: Commands) -> None:
        """See :meth:`Control.start`."""

        def reload() -> None:
            self._notifier.reloading()
            commands.reload()
            self._notifier.ready()

        handle_signals(self._reactor, commands.hurry, reload)

    def ready(self) -> None:
        """See :meth:`Control.ready`."""
        self._notifier.ready()

    def stopping(self) -> None:
        """See :meth:`Control.stopping`."""
        self._notifier.stopping()
