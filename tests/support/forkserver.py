"""Starts this project's programs from a process that has imported what they need.

An interpreter that starts and imports takes a second of processor time, which is most
of what many a test takes, and tests start a thousand of them. Here each program is a
fork of one process, so that it begins where its own work begins. What is about the
start of an interpreter (its options and variables, files that it inherits) is tested
with real ones: :func:`start` takes one where the environment asks for it. Workers of
a server are forks if the server is one.

``python -m tests.support.forkserver DESCRIPTOR`` is that process. It gets requests
over a socket and tells, over another for each program, its number and how it ended.
Scripts ask it by :mod:`tests.support.forked`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import importlib.abc
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, NoReturn, Protocol

import boto3

from tests.support.checkout import CHECKOUT
from tests.support.forked_workers import fork_workers
from tests.support.read_once import read_once

_NUMBER = struct.Struct("!i")
_MOST = 1024 * 1024
"""Bytes of a request, which has a command line and an environment."""
_OF_THE_START = ("LANG", "LC_", "LD_", "PYTHON", "TZ")
"""What variables begin with that an interpreter or its loader reads when it starts."""
_REACTOR = "twisted.internet.reactor"
_NOT_IMPORTED = ("qabel_block.server.uwsgi", "qabel_block.migrations")


class Process(Protocol):
    """What tests do with a process, be it a fork or a :class:`subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class ForkedProcess:
    """A program that the fork server has started."""

    def __init__(self, status: socket.socket, arguments: Sequence[str]) -> None:
        self.args = arguments
        self._status: socket.socket | None = status
        self._returncode = 0
        self.pid = _read(status)

    def poll(self) -> int | None:
        """Return the exit status, as :class:`subprocess.Popen` has it, or ``None`` if
        the process has not ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, for so many seconds at the most."""
        if self._status is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._returncode = _read(self._status)
            self._status.close()
            self._status = None
        return self._returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks, as long as this one lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET
        )
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # What once could seek in its files tries to, in a fork's pipe too.
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=CHECKOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )

    def fileno(self) -> int:
        """Return the descriptor over which it gets requests, for scripts to inherit."""
        return self._requests.fileno()

    def start(
        self,
        words: Sequence[str],
        environment: dict[str, str],
        stdout: IO[Any] | None,
        stderr: IO[Any] | None,
    ) -> ForkedProcess:
        """Run a module, with what it writes in two files.

        :param words: its name and its arguments.
        """
        folder = tempfile.gettempdir()
        request = json.dumps([list(words), environment, folder]).encode()
        status, theirs = socket.socketpair()
        with theirs, open(os.devnull, "r+b") as nothing:
            descriptors = [
                nothing.fileno(),
                (stdout or nothing).fileno(),
                (stderr or nothing).fileno(),
                theirs.fileno(),
            ]
            with self._lock:
                socket.send_fds(self._requests, [request], descriptors)
        return ForkedProcess(status, words)


_server: ForkServer | None = None


def fork_server() -> ForkServer:
    """Return the one of this process, started when first needed."""
    global _server
    if _server is None:
        _server = ForkServer()
    return _server


def start(
    module: Sequence[str],
    environment: dict[str, str],
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> Process:
    """Run a module as ``python -m`` does, in the directory of temporary files.

    :param module: its name and its arguments.
    """
    if any(
        value != os.environ.get(name)
        for name, value in environment.items()
        if name.startswith(_OF_THE_START) and name != "PYTHONPATH"
    ):
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            stderr=stderr or subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
    return fork_server().start(module, environment, stdout, stderr)


def _read(connection: socket.socket) -> int:
    data = connection.recv(_NUMBER.size, socket.MSG_WAITALL)
    if len(data) != _NUMBER.size:
        raise RuntimeError("the fork server has ended")
    return int(_NUMBER.unpack(data)[0])


class _NoReactor(importlib.abc.MetaPathFinder):
    """Keeps the reactor, which has descriptors, from being made before a fork."""

    def find_spec(self, fullname: str, *_others: object) -> None:
        if fullname == _REACTOR:
            raise ImportError(fullname)


def _import_all() -> None:
    """Import all that programs of this project do, as far as that needs no reactor."""
    import qabel_block

    no_reactor = _NoReactor()
    sys.meta_path.insert(0, no_reactor)
    others = ("boto3.session", "alembic.command", "treq", "txpostgres", "klein")
    programs = ("twisted.application.twist._twist", "twisted.internet.epollreactor")
    own = pkgutil.walk_packages(qabel_block.__path__, "qabel_block.")
    for name in (*programs, *others, *(module.name for module in own)):
        if name.startswith(_NOT_IMPORTED) or name.endswith("__main__"):
            continue
        # Where it fails, what it had imported before stays.
        with suppress(ImportError):
            importlib.import_module(name)
    sys.meta_path.remove(no_reactor)


def _serve(requests: socket.socket) -> list[str]:
    """Fork for each request; return, in the forks, the module's name and arguments."""
    statuses: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if woken in ready:
                woken.recv(4096)
                _reap(statuses)
            if requests not in ready:
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, _MOST, 4)
            if not request:
                sys.exit()
            pid = os.fork()
            status = socket.socket(fileno=descriptors.pop())
            if pid == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
            statuses[pid] = status
            _tell(status, pid)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for other in (requests, woken, wake, status, *statuses.values()):
        other.close()
    words, environment, folder = json.loads(request)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return list(words)


def _reap(statuses: dict[int, socket.socket]) -> None:
    while statuses:
        pid, ended = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with statuses.pop(pid) as status:
            _tell(status, os.waitstatus_to_exitcode(ended))


def _tell(status: socket.socket, number: int) -> None:
    with suppress(OSError):  # nobody wants to know
        status.sendall(_NUMBER.pack(number))


def _run(module: str) -> NoReturn:
    """Run a module and exit as an interpreter does, but for taking all apart that was
    imported, which would copy most of the process's memory only to give it back."""
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        status = ended.code if isinstance(ended.code, int) else ended.code is not None
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _import_all()
    read_once()
    boto3.session.Session().client("s3", region_name="us-east-1")
    gc.collect()
    gc.freeze()  # which a fork's collections would look at, and so copy
    _words = _serve(socket.socket(fileno=int(sys.argv[1])))
    if "--processes" in _words:
        _words = fork_workers(_words)
    _module, *sys.argv[1:] = _words
    _run(_module)
