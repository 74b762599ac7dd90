"""A subscriber's WebSocket."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameProtocol,
    Opcode,
    ParseFailed,
)
from zope.interface import implementer

from qabel_block.errors import NotOwner, Unavailable, UnknownUser
from qabel_block.http.websocket.frames import FrameLimits
from qabel_block.push.hub import TRY_AGAIN_LATER, Hub

log = Logger()

PING_SECONDS = 30.0
MISSED_PINGS = 2
"""A peer that answers none of so many pings is gone."""

UNREAD_BYTES = 2**20
"""How much may wait for a subscriber that does not read."""

CLOSE_SECONDS = 2.0
"""How long a peer may take to answer a closing handshake."""

CheckAccess = Callable[[], Coroutine[Deferred[Any], Any, None]]
"""Raises ``UnknownUser`` or ``NotOwner`` if a subscriber may not listen any more, and
``Unavailable`` if nobody can tell."""


class SocketRecorder(Protocol):
    """Takes what there is to measure about sockets."""

    def opened(self) -> None:
        """Take note of a socket that is open."""

    def closed(self, seconds: float) -> None:
        """Take note of a socket that is open no more, and how long it was."""

    def sent(self) -> None:
        """Take note of an event that was sent."""


class _State(Enum):
    CONNECTING = "the handshake is not answered yet"
    OPEN = "open"
    CLOSING = "a closing frame was sent; the peer's may still come"
    DEAF = "nothing is sent or understood any more until the connection ends"


@implementer(IPushProducer)
class WebSocket:
    """A subscriber of the hub at the other end of a WebSocket.

    What it is told before the handshake is answered is sent then.

    :param path: of the one object to tell of, ``None`` for all of the prefix.
    :param clock: limits the closing handshake.
    :param check_access: asks whether the subscriber may still listen; ``None`` if
        anybody may.
    :ivar gone: fires when the socket is closed, or never will be open.
    """

    __slots__ = (
        "_check_access",
        "_checking",
        "_clock",
        "_close_timer",
        "_end_with",
        "_hub",
        "_limits",
        "_opened",
        "_owed_pong",
        "_paused",
        "_protocol",
        "_recorder",
        "_state",
        "_transport",
        "_unanswered",
        "_unread",
        "_unread_bytes",
        "gone",
        "path",
        "prefix",
    )

    _protocol: FrameProtocol
    _limits: FrameLimits
    _transport: Any

    def __init__(
        self,
        hub: Hub,
        prefix: str,
        path: str | None,
        clock: IReactorTime,
        recorder: SocketRecorder | None = None,
        check_access: CheckAccess | None = None,
    ) -> None:
        self.prefix = prefix
        self.path = path
        self.gone: Deferred[None] = Deferred()
        self._hub = hub
        self._clock = clock
        self._recorder = recorder
        self._check_access = check_access
        self._checking: Deferred[None] = succeed(None)
        self._state = _State.CONNECTING
        self._opened = 0.0
        self._end_with: tuple[int, str] | None = None
        self._close_timer: IDelayedCall | None = None
        self._unanswered = 0
        self._paused = False
        self._owed_pong: bytes | None = None
        self._unread: list[bytes] = []
        self._unread_bytes = 0

    # What the connection tells.

    def connectionMade(self, transport: Any) -> None:
        """Take the connection, on which the handshake is answered."""
        self._limits = FrameLimits()
        self._protocol = FrameProtocol(client=False, extensions=[self._limits])
        self._transport = transport
        self._state = _State.OPEN
        if self._recorder is not None:
            self._opened = self._clock.seconds()
            self._recorder.opened()
        transport.registerProducer(self, True)
        if self._end_with is not None:
            self._close(*self._end_with)
        else:
            self._send_waiting()

    def dataReceived(self, data: bytes) -> None:
        """Take frames from the client, whose messages are ignored."""
        if self._state is _State.DEAF:
            return
        self._unanswered = 0
        self._protocol.receive_bytes(data)
        try:
            for frame in self._protocol.received_frames():
                self._frame_received(frame)
        except ParseFailed as error:
            self._fail(error.code)

    def connectionLost(self) -> None:
        """Take note that there is no connection, or never was."""
        if self._close_timer is not None and self._close_timer.active():
            self._close_timer.cancel()
        if self._state is not _State.CONNECTING and self._recorder is not None:
            self._recorder.closed(self._clock.seconds() - self._opened)
        self._state = _State.DEAF
        self._unread.clear()
        self._checking.cancel()
        Deferred.fromCoroutine(self._hub.remove(self)).addErrback(_not_removed)
        self.gone.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._state is _State.OPEN and self._owed_pong is not None:
            owed, self._owed_pong = self._owed_pong, None
            self._transport.write(bytes(self._protocol.pong(owed)))
        self._send_waiting()

    def stopProducing(self) -> None:
        """Nothing to do: ``connectionLost`` follows."""

    # What the hub and the keeper of all sockets tell.

    def tell(self, message: bytes) -> None:
        """Send an event, as soon as the peer takes it. One that does not is cut
        off at a bound, and one whose socket is closing is not told any more."""
        if self._end_with or self._state not in (_State.CONNECTING, _State.OPEN):
            return
        self._unread.append(message)
        self._unread_bytes += len(message)
        if self._unread_bytes > UNREAD_BYTES:
            self.end(TRY_AGAIN_LATER, "too slow")
        else:
            self._send_waiting()

    def end(self, code: int, reason: str) -> None:
        """Close the socket; nothing more is sent."""
        self._unread.clear()
        self._unread_bytes = 0
        self._end_with = self._end_with or (code, reason)
        self._close(*self._end_with)

    def ping(self) -> None:
        """Ask for a sign of life; give up on a peer that showed none for long."""
        if self._state is not _State.OPEN:
            return
        if self._unanswered >= MISSED_PINGS:
            self._transport.abortConnection()
        else:
            self._unanswered += 1
            self._transport.write(bytes(self._protocol.ping()))

    def check(self) -> Deferred[None]:
        """Close the socket if its subscriber may not listen any more. It stays open
        while nobody can tell.

        :return: fires when that is done, and does not fail.
        """
        if self._check_access is None or self._state is not _State.OPEN:
            return succeed(None)
        self._checking = Deferred.fromCoroutine(self._check_access())
        return self._checking.addErrback(self._not_confirmed)

    def _not_confirmed(self, failure: Failure) -> None:
        if failure.check(UnknownUser, NotOwner):
            self.end(CloseReason.POLICY_VIOLATION, "access has ended")
        elif not failure.check(Unavailable, CancelledError):
            log.failure("a subscriber's access could not be checked", failure=failure)
            self.end(CloseReason.INTERNAL_ERROR, "")

    def _send_waiting(self) -> None:
        sent = 0
        for message in self._unread:
            if self._paused or self._state is not _State.OPEN:
                break
            self._unread_bytes -= len(message)
            sent += 1
            text = message.decode("utf-8")
            self._transport.write(bytes(self._protocol.send_data(text)))
            if self._recorder is not None:
                self._recorder.sent()
        del self._unread[:sent]

    # Frames of the client, and the end.

    def _frame_received(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            payload: Any = frame.payload
            code, _reason = payload
            self._close(code, "")
            self._state = _State.DEAF
            self._transport.loseConnection()
        elif frame.opcode is Opcode.PING and self._state is _State.OPEN:
            ping: Any = frame.payload
            if self._paused:
                # The last one is enough (RFC 6455 section 5.5.3), and a peer that
                # does not read can't make them pile up.
                self._owed_pong = ping
            else:
                self._transport.write(bytes(self._protocol.pong(ping)))

    def _fail(self, code: CloseReason) -> None:
        """End the socket of a peer that breaks the protocol (RFC 6455 section 7.1.7).

        What it goes on sending is dropped, so that it gets to read why; nothing is
        said to one that was closing the socket itself.
        """
        if self._limits.closing:
            self._limit_closing()
            self._transport.loseConnection()
        else:
            self._close(code, "")
        self._state = _State.DEAF

    def _close(self, code: int, reason: str) -> None:
        """Send a closing frame, unless that has been done or can't be."""
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._transport.write(bytes(self._protocol.close(code, reason or None)))
            self._limit_closing()

    def _limit_closing(self) -> None:
        if self._close_timer is None:
            self._close_timer = self._clock.callLater(
                CLOSE_SECONDS, self._transport.abortConnection
            )


def _not_removed(failure: Any) -> None:
    log.failure("a subscriber could not be removed", failure=failure)
