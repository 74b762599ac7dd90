"""Runs a module in a fork of the fork server, as if this process were it.

``python forked.py DESCRIPTOR MODULE ARGUMENT...``, where the descriptor is the fork
server's, has the module's output and exit status, and passes signals on. It imports
little: scripts run it in place of ``python -m``, a second of processor time later.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from typing import Any

_NUMBER = struct.Struct("!i")
_PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def main(descriptor: str, *words: str) -> int:
    request = json.dumps([words, dict(os.environ), os.getcwd()]).encode()
    requests = socket.socket(fileno=int(descriptor))
    status, theirs = socket.socketpair()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    with requests, theirs:
        socket.send_fds(requests, [request], [0, 1, 2, theirs.fileno()])
    pid = _read(status)

    def pass_on(number: int, _frame: Any) -> None:
        os.kill(pid, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    ended = _read(status)
    return ended if ended >= 0 else 128 - ended


def _read(status: socket.socket) -> int:
    return int(_NUMBER.unpack(status.recv(_NUMBER.size, socket.MSG_WAITALL))[0])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
