"""Clients of WebSockets: the ``websockets`` library over TCP and in memory."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import define, field
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

OPEN_SECONDS = 60.0


class Ping(Protocol):
    """A ping that was sent."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the pong; return whether it came."""


class Socket(Protocol):
    """An open WebSocket, to be used in a ``with`` statement."""

    @property
    def subprotocol(self) -> Subprotocol | None:
        """The subprotocol that the server has selected."""

    def send(self, message: str | bytes) -> None:
        """Send a message."""

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Return the next message.

        :raises ConnectionClosed: if none will come.
        """

    def ping(self) -> Ping:
        """Send a ping."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *exception: object) -> None: ...


def open_over_tcp(
    url: str, headers: dict[str, str], subprotocols: list[Subprotocol] | None
) -> Socket:
    """Open a socket.

    :raises InvalidStatus: if the handshake is refused.
    """
    opened: Any = connect(
        url,
        additional_headers=headers,
        subprotocols=subprotocols,
        open_timeout=OPEN_SECONDS,
        close_timeout=OPEN_SECONDS,
        compression=None,
    )
    return opened  # type: ignore[no-any-return]


@define
class _Ping:
    socket: MemoryWebSocket
    payload: bytes

    def wait(self, timeout: float | None = None) -> bool:
        while self.payload not in self.socket.pongs:
            self.socket.read()
        return True


@define(eq=False)
class MemoryWebSocket:
    """A socket on a connection in memory."""

    connection: Any
    protocol: ClientProtocol
    pongs: list[bytes] = field(factory=list)
    messages: list[str | bytes] = field(factory=list)

    @classmethod
    def open(
        cls,
        connection: Any,
        url: str,
        headers: dict[str, str],
        subprotocols: list[Subprotocol] | None,
    ) -> MemoryWebSocket:
        """Open a socket.

        :raises InvalidStatus: if the handshake is refused.
        """
        protocol = ClientProtocol(parse_uri(url), subprotocols=subprotocols)
        opened = cls(connection, protocol)
        request = protocol.connect()
        request.headers.update(headers)
        protocol.send_request(request)
        opened._flush()
        while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
            opened.read()
        if protocol.handshake_exc is not None:
            raise protocol.handshake_exc
        return opened

    @property
    def subprotocol(self) -> Subprotocol | None:
        return self.protocol.subprotocol

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self._flush()

    def recv(self, timeout: float | None = None) -> str | bytes:
        while not self.messages:
            if self.protocol.state is State.CLOSED:
                raise self.protocol.close_exc
            self.read()
        return self.messages.pop(0)

    def ping(self) -> _Ping:
        payload = b"%d" % len(self.pongs)
        self.protocol.send_ping(payload)
        self._flush()
        return _Ping(self, payload)

    def __enter__(self) -> MemoryWebSocket:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(1000)
            self._flush()
        while self.protocol.state is not State.CLOSED:
            self.read()

    def read(self) -> None:
        """Take what comes next."""
        data = self.connection.recv(65536)
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            opcode = getattr(event, "opcode", None)
            payload: bytes = getattr(event, "data", b"")
            if opcode is Opcode.TEXT:
                self.messages.append(payload.decode())
            elif opcode is Opcode.PONG:
                self.pongs.append(payload)
        self._flush()

    def _flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.connection.sendall(data)
            else:
                self.connection.close()
