"""An HTTP client that sends exactly what it is told, piece by piece."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType

from attrs import define, field

TIMEOUT = 30.0


@define
class Answer:
    """An answer as it came over the wire."""

    status: int
    reason: str
    headers: dict[str, str] = field(factory=dict)
    body: bytes = b""


class Wire:
    """A connection to a server on 127.0.0.1.

    :param wrap: what to do with the socket once it is connected.
    """

    def __init__(
        self,
        port: int,
        receive_buffer: int | None = None,
        wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain,
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(("127.0.0.1", port))
        self.socket = wrap(self.socket)
        self._received = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._received.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> None:
        """Send a request line and header; ``Host`` is added."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; the last one is empty."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer, to the end of its body.

        :raises EOFError: if the server closed the connection instead.
        """
        status_line = self._received.readline().decode("latin-1")
        if not status_line:
            raise EOFError
        _version, status, reason = status_line.rstrip("\r\n").split(" ", 2)
        answer = Answer(int(status), reason)
        while (line := self._received.readline().decode("latin-1").strip()) != "":
            name, _, value = line.partition(":")
            answer.headers[name.lower()] = value.strip()
        if answer.status in (100, 101, 204, 304) or method == "HEAD":
            return answer
        length = int(answer.headers["content-length"])
        answer.body = self._received.read(length)
        if len(answer.body) < length:
            raise EOFError
        return answer

    def at_end(self) -> bool:
        """Say whether the server has closed its side; waits for it or data."""
        try:
            return self._received.peek(1) == b""
        except ConnectionResetError:
            return True
