"""Lets the workers of a forked server be forks, too, which begin where imports end.

A supervisor can't fork workers of itself: its reactor has descriptors and threads. So
a process is forked of it before, the forker, which forks whenever the supervisor is
about to start an interpreter. The workers are the supervisor's own children all the
same: each is forked by a process in between that ends at once, and orphans are their
grandparent's.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.process import Process

_FORKER = "forker"
_MOST = 1024 * 1024
_NUMBER = struct.Struct("!i")
_PR_SET_CHILD_SUBREAPER = 36
_WORKER = ["-P", "-m"]
"""What the launcher begins a worker's command with, after the interpreter."""


def workers_of(pid: int) -> set[int]:
    """Return the processes that a server has started, but for its forker."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(child) for child in listed.split() if _name(child) != _FORKER}


def fork_workers(words: list[str]) -> list[str]:
    """Let this process, which is to become a supervisor, fork its workers; return, in
    it and in each of them, the name and the arguments of the module to run."""
    _adopt_orphans()
    requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        requests.close()
        return _serve(theirs)
    theirs.close()

    def start(
        process: Any,
        path: str,
        _uid: None,
        _gid: None,
        _executable: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        more: Mapping[str, Mapping[int, int]],
    ) -> bool:
        _interpreter, *options = arguments[:3]
        assert options == _WORKER, arguments
        places, descriptors = zip(*more["fdmap"].items(), strict=True)
        worker = (arguments[3:], dict(environment), path, places)
        socket.send_fds(requests, [json.dumps(worker).encode()], descriptors)
        (process.pid,) = _NUMBER.unpack(requests.recv(_NUMBER.size))
        process.status = -1
        requests.recv(1)  # now it is a child of this process
        return True

    # Where Twisted starts a process in another way than by a fork of this one.
    Process._trySpawnInsteadOfFork = start  # type: ignore[method-assign]
    return words


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:  # it has ended
        return ""


def _adopt_orphans() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _serve(requests: socket.socket) -> list[str]:
    """Fork for each request, as long as there is somebody to ask; return, in the
    forks, what they are to run."""
    Path("/proc/self/comm").write_text(_FORKER)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _MOST, 64)
        if not request:
            os._exit(0)
        between = os.fork()
        if between == 0:
            worker = os.fork()
            if worker == 0:
                break
            requests.send(_NUMBER.pack(worker))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(between, 0)
        requests.send(b".")
    Path("/proc/self/comm").write_text("python")
    requests.close()
    words, environment, folder, places = json.loads(request)
    _put(descriptors, places)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return list(words)


def _put(descriptors: Sequence[int], places: Sequence[int]) -> None:
    """Put descriptors where they are expected, each of which may be another's place."""
    above = max(*places, *descriptors) + 1
    for descriptor, place in zip(
        [_move(descriptor, above) for descriptor in descriptors], places, strict=True
    ):
        os.dup2(descriptor, place)
        os.close(descriptor)


def _move(descriptor: int, above: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(descriptor)
    return moved
