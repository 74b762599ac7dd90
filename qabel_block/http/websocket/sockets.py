"""All WebSockets of this process: opens, pings and closes them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import DeferredList
from twisted.internet.task import LoopingCall

from qabel_block.errors import Unavailable
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.websocket.handshake import accept
from qabel_block.http.websocket.socket import PING_SECONDS, SocketRecorder, WebSocket
from qabel_block.push.hub import Hub


class WebSockets:
    """Opens sockets, pings them, and closes them when the server stops.

    :param reactor: for pings and time limits.
    :param recorder: told of each socket, if anybody is.
    """

    def __init__(
        self, hub: Hub, reactor: Any, recorder: SocketRecorder | None = None
    ) -> None:
        self._hub = hub
        self._clock = reactor
        self._recorder = recorder
        self._pinging = LoopingCall(self._ping)
        self._pinging.clock = reactor
        self._stopped = False

    def start(self) -> None:
        """Begin to ping sockets."""
        self._pinging.start(PING_SECONDS, now=False)

    async def stop(self) -> None:
        """Close all sockets, and return when they are gone."""
        self._stopped = True
        if self._pinging.running:
            self._pinging.stop()
        sockets: Any = self._hub.subscribers()
        self._hub.close()
        await DeferredList([socket.gone for socket in sockets])

    async def open(
        self, request: StreamingRequest, prefix: str, path: str | None
    ) -> None:
        """Subscribe a client whose handshake is right, and answer it.

        :param path: of the one object to tell of, ``None`` for all of them.
        :raises Unavailable: if events can't be had at the moment.
        """
        if self._stopped:
            raise Unavailable("push", "the server is shutting down")
        socket = self.socket(prefix, path)
        await self._hub.add(socket)
        if request.channel is None:
            socket.connectionLost()
        else:
            accept(request)
            request.channel.upgrade(socket)

    def socket(self, prefix: str, path: str | None) -> WebSocket:
        """Return a socket that is not open yet."""
        return WebSocket(self._hub, prefix, path, self._clock, self._recorder)

    def _ping(self) -> None:
        for socket in self._hub.subscribers():
            socket.ping()  # type: ignore[attr-defined]
