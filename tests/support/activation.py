"""Starts a server as systemd does: with sockets that listen already."""

from __future__ import annotations

import socket
import sys

from tests.support.server import PLUGIN, ServerProcess

_LAUNCH = """
import os, sys
socket, *command = sys.argv[1:]
os.dup2(int(socket), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="block")
os.execv(command[0], command)
"""


def activated(
    listener: socket.socket, *options: str, runner: tuple[str, ...] = PLUGIN
) -> ServerProcess:
    """Return a server that takes its connections from ``listener``, which stays
    open when the server stops.

    :param runner: how to run the plugin.
    """
    if "--listen" not in options:
        options = (*options, "--listen", "systemd:domain=INET:index=0")
    server = ServerProcess(
        *options,
        command=(
            *(sys.executable, "-c", _LAUNCH, str(listener.fileno())),
            *runner,
        ),
    )
    server.descriptors = (listener.fileno(),)
    return server
