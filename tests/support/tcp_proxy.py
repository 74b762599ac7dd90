"""A network that can be told to fail, between a server and what it depends on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

BUFFER = 64 * 1024
KEPT = 4
"""Bytes of an answer that arrive before its connection is cut."""

AT_ONCE = b"\1\0\0\0\0\0\0\0"
"""For SO_LINGER: close with a reset, what was sent but not received is lost."""

Address = str | tuple[str, int]
"""The path of a Unix socket, or host and port."""


class TcpProxy:
    """Listens on a port of 127.0.0.1 and passes everything on.

    There is one fault at a time: each ends the one before.

    :param upstream: where the real service listens.
    :ivar accepted: how many connections there have been.
    """

    def __init__(self, upstream: Address) -> None:
        self.upstream = upstream
        self.port = 0
        self.accepted = 0
        self.flowing = threading.Event()
        self._cuts_answers = False
        self._marker: bytes | None = None
        self._deliver = True
        self._after = 0
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.flowing.set()
        self._bind()
        self._listen()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.refuse()
        self._listener.close()

    def refuse(self) -> None:
        """Refuse connections, and cut those that are open."""
        self.recover()
        # Wakes the thread that accepts, which to close it would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._bind()
        self.cut()

    def fall_silent(self) -> None:
        """Accept connections, but pass nothing on for the time being."""
        self.recover()
        self.flowing.clear()

    def cut_answers(self) -> None:
        """Cut every connection in the middle of its next answer."""
        self.recover()
        self._cuts_answers = True

    def cut_once_at(self, marker: bytes, deliver: bool, after: int = 0) -> None:
        """Cut the connection on which a client sends this next.

        :param deliver: whether what it sends still arrives and is done; it is
            the answer then that does not arrive.
        :param after: how often it may be sent before.
        """
        self.recover()
        self._deliver = deliver
        self._after = after
        self._marker = marker

    @property
    def waits(self) -> bool:
        """Whether what :meth:`cut_once_at` waits for has not come yet."""
        return self._marker is not None

    def recover(self) -> None:
        """Pass everything on; what was held back arrives late."""
        self._cuts_answers = False
        self._marker = None
        if not self._listening:
            self._listen()
        self.flowing.set()

    def cut(self) -> None:
        """Cut all connections that are open."""
        with self._lock:
            pairs = tuple(self._pairs)
        for pair in pairs:
            pair.cut()

    @property
    def open(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._pairs)

    def forget(self) -> None:
        """Lose what comes over the connections that are open, as a NAT does that has
        forgotten them. New ones work."""
        with self._lock:
            for pair in self._pairs:
                pair.forgotten = True

    def request_is_lost(self, data: bytes) -> bool | None:
        """Decide about what a client sends.

        :return: whether its connection is to be cut at once (``True``) or
            instead of an answer (``False``); ``None`` if not at all.
        """
        with self._lock:
            if self._marker is None or self._marker not in data:
                return None
            self._after -= 1
            if self._after >= 0:
                return None
            self._marker = None
            return not self._deliver

    def kept_of_answer(self, data: bytes) -> bytes | None:
        """Return what a client gets of an answer before its connection is cut;
        ``None`` if it is not. It is the beginning of one, but of no use."""
        return data[:KEPT] if self._cuts_answers else None

    def joined(self, pair: _Pair) -> None:
        with self._lock:
            self.accepted += 1
            self._pairs.add(pair)

    def left(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _bind(self) -> None:
        """Take the port. As long as nobody listens on it, it refuses."""
        self._listening = False
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]

    def _listen(self) -> None:
        self._listening = True
        self._listener.listen(128)
        _in_thread(self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    pair = _Pair(self, client)
                except OSError:  # the service is not there
                    client.close()
                else:
                    _in_thread(pair.run)


class _Pair:
    """A connection from a client and the one for it to the service."""

    def __init__(self, proxy: TcpProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._service = _connect(proxy.upstream)
        self._deaf = False
        self.forgotten = False
        proxy.joined(self)

    def run(self) -> None:
        _in_thread(self._pass_answers)
        self._pass_requests()

    def cut(self) -> None:
        """End both connections, with what is on its way."""
        self._proxy.left(self)
        for one in (self._client, self._service):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                # Wakes the other thread, if it reads or writes.
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _pass_requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(BUFFER):
                self._proxy.flowing.wait()
                if self.forgotten:
                    continue
                lost = self._proxy.request_is_lost(data)
                if lost:
                    break
                self._deaf = self._deaf or lost is not None
                self._service.sendall(data)
        self.cut()

    def _pass_answers(self) -> None:
        with suppress(OSError):
            while data := self._service.recv(BUFFER):
                self._proxy.flowing.wait()
                if self._deaf:
                    break
                kept = self._proxy.kept_of_answer(data)
                self._client.sendall(data if kept is None else kept)
                if kept is not None:
                    break
        self.cut()


def _connect(address: Address) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def _in_thread(function: object, *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()  # type: ignore[arg-type]
