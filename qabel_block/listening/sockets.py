"""Opens listening sockets."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from qabel_block.listening.endpoints import CannotListen, EndpointPlan, Tcp, Unix


@frozen
class OpenSocket:
    """A socket that listens.

    :ivar ours: whether nobody else will accept from it when we stop.
    :ivar file: its name in the file system, if it is ours to remove, and what
        tells it from another's of that name.
    """

    socket: socket.socket
    ours: bool = False
    file: tuple[str, int, int] | None = None

    def close(self) -> None:
        """Close it and remove its file, unless that is another's by now."""
        self.socket.close()
        if self.file is not None and _identity(self.file[0]) == self.file:
            os.unlink(self.file[0])

    def __str__(self) -> str:
        name = self.socket.getsockname()
        if isinstance(name, tuple):
            return f"{name[0]} port {name[1]}"
        return os.fsdecode(name) or "a socket without a name"


def open_socket(plan: EndpointPlan) -> OpenSocket:
    """Open the socket of a plan, or take the one that it has.

    :raises CannotListen: if that can't be had.
    """
    address = plan.address
    try:
        if isinstance(address, Tcp):
            return OpenSocket(_tcp(address), ours=True)
        if isinstance(address, Unix):
            return _unix(address)
        address.setblocking(False)
        return OpenSocket(address)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise CannotListen(f"can't listen on {plan.description}: {why}") from error


def _tcp(address: Tcp) -> socket.socket:
    if not 0 <= address.port <= 65535:
        raise OverflowError(f"{address.port} is no port")
    family = socket.AF_INET6 if ":" in address.interface else socket.AF_INET
    (family, kind, protocol, _, where), *_ = socket.getaddrinfo(
        address.interface or None,
        address.port,
        family,
        socket.SOCK_STREAM,
        flags=socket.AI_PASSIVE,
    )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(address.backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(address: Unix) -> OpenSocket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(os.path.dirname(address.path) or "."):
            _remove_stale(address.path)
            # Nobody may connect before the permissions are what they should be.
            mask = os.umask(0o177)
            try:
                listener.bind(address.path)
            finally:
                os.umask(mask)
        os.chmod(address.path, address.mode)
        listener.listen(address.backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return OpenSocket(listener, ours=True, file=_identity(address.path))


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Let no other server look for stale sockets here at the same time."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that crashed: nobody listens on it."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass  # somebody listens who is busy


def _identity(path: str) -> tuple[str, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return path, found.st_dev, found.st_ino
