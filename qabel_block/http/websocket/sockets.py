"""All WebSockets of this process: opens, pings, checks and closes them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall, deferLater

from qabel_block.errors import Unavailable
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.websocket.handshake import accept
from qabel_block.http.websocket.socket import (
    PING_SECONDS,
    CheckAccess,
    SocketRecorder,
    WebSocket,
)
from qabel_block.push.hub import Hub

CHECK_SECONDS = 1.0
"""How often it is checked whether subscribers may still listen. With the age that
answers of built-in accounts may have (3 s), every change holds within 5 seconds
(PROTOCOL section 10)."""

CHECKED_TOGETHER = 100
"""Sockets that are checked at a time; others' turns come between."""


class WebSockets:
    """Opens sockets, pings them, and closes them when their subscribers may not listen
    any more or the server stops.

    :param reactor: for pings, checks and time limits.
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
        self._checking = LoopingCall(lambda: Deferred.fromCoroutine(self._check()))
        self._checking.clock = reactor
        self._stopped = False

    def start(self) -> None:
        """Begin to ping and check sockets."""
        self._pinging.start(PING_SECONDS, now=False)
        self._checking.start(CHECK_SECONDS, now=False)

    async def stop(self) -> None:
        """Close all sockets, and return when they are gone."""
        self._stopped = True
        for regular in (self._pinging, self._checking):
            if regular.running:
                regular.stop()
        sockets: Any = self._hub.subscribers()
        self._hub.close()
        await DeferredList([socket.gone for socket in sockets])

    async def open(
        self,
        request: StreamingRequest,
        prefix: str,
        path: str | None,
        check_access: CheckAccess | None = None,
    ) -> None:
        """Subscribe a client whose handshake is right, and answer it.

        :param path: of the one object to tell of, ``None`` for all of them.
        :param check_access: see :class:`WebSocket`.
        :raises Unavailable: if events can't be had at the moment.
        """
        if self._stopped:
            raise Unavailable("push", "the server is shutting down")
        socket = self.socket(prefix, path, check_access)
        await self._hub.add(socket)
        if request.channel is None:
            socket.connectionLost()
        else:
            accept(request)
            request.channel.upgrade(socket)

    def socket(
        self, prefix: str, path: str | None, check_access: CheckAccess | None = None
    ) -> WebSocket:
        """Return a socket that is not open yet."""
        return WebSocket(
            self._hub, prefix, path, self._clock, self._recorder, check_access
        )

    def _ping(self) -> None:
        for socket in self._hub.subscribers():
            socket.ping()  # type: ignore[attr-defined]

    async def _check(self) -> None:
        sockets: Any = self._hub.subscribers()
        for begin in range(0, len(sockets), CHECKED_TOGETHER):
            if begin:
                await deferLater(self._clock, 0)
            together = sockets[begin : begin + CHECKED_TOGETHER]
            await DeferredList([socket.check() for socket in together])
