"""Ports for servers that have to be told theirs."""

from __future__ import annotations

import random
import socket

_RANGE = range(10_000, 32_768)
"""Below those that the kernel gives to clients: a server that is started again
finds its port free."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at the moment. Others who
    look at the same time hardly find the same one."""
    while True:
        port = random.choice(_RANGE)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
