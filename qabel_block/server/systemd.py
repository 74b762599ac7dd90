"""Tells systemd what the service is doing (``man sd_notify``).

A service of ``Type=notify`` or ``notify-reload`` is told by systemd where to, in
the environment. Elsewhere nothing is done.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from twisted.logger import Logger

log = Logger()

VARIABLE = "NOTIFY_SOCKET"


class SystemdNotifier:
    """Sends what systemd wants to know.

    :param environment: is looked into once. The address is taken out of it, so
        that no process we start speaks for us.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = environment.pop(VARIABLE, "")

    def ready(self) -> None:
        """Tell that requests are served, at first or again after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Tell that a reload has begun."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Tell that the service ends, which is the last that it is told."""
        self._send("STOPPING=1")
        self._address = ""

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero byte of an abstract address.
        address = self._address.replace("@", "\0", 1)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(state.encode(), address)
        except OSError as error:
            log.warn("systemd can't be told: {error}", error=str(error))
