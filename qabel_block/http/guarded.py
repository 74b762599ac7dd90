"""Connections on which nobody can take more than a share of the server.

Clients that send a head or a body too slowly are cut off, and those that are too
many are turned away.

This module leans on the insides of :mod:`twisted.protocols.basic` and
:mod:`twisted.web.http`: ``line_mode``, ``_buffer``, ``_transferDecoder``,
``_abortingCall``; and on :class:`HAProxyProtocolWrapper`, which knows the client's
address only when it has read the first bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.web.http import REQUEST_TIMEOUT

from qabel_block.http.channel import StreamingChannel
from qabel_block.http.doors import origin

if TYPE_CHECKING:
    from twisted.python.failure import Failure

HEAD_SECONDS = 30.0
"""How long a request's head may take, from its first byte to its last."""

BODY_SECONDS = 60.0
BODY_BYTES = 16 * 1024
"""In each such time a client sends at least so much of a body that it has not sent
yet, or is cut off. Time in which we made it wait does not count."""

TURN_AWAY_SECONDS = 2
"""How long a client that is turned away may take to read why."""

_TURNED_AWAY = (
    b"HTTP/1.1 503 %s\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Stage(Enum):
    """What a connection waits for."""

    NOTHING = "nothing, or our own answer"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


class GuardedChannel(StreamingChannel):
    """A connection with limits."""

    _stage = Stage.NOTHING
    _watch: IDelayedCall | None = None
    _received = 0
    _received_before = 0
    _made_to_wait = False
    _inside = False
    _outside = False
    _origin: str | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        refusal = self.site.doors.refusal()
        if refusal is None:
            self.site.doors.enter()
            self._inside = True
            if not isinstance(self.transport, HAProxyProtocolWrapper):
                refusal = self._enter_as()
        if refusal is not None:
            self._turn_away(refusal)

    def dataReceived(self, data: bytes) -> None:
        if not self._received and isinstance(self.transport, HAProxyProtocolWrapper):
            refusal = self._enter_as()
            if refusal is not None:
                self._turn_away(refusal)
        if self._refused:
            return
        self._received += len(data)
        super().dataReceived(data)
        stage = self._find_stage()
        if stage is not self._stage:
            self._begin(stage)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._begin(Stage.NOTHING)
        self.left()
        if self._outside:
            self._outside = False
            self.site.doors.forget()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        self._begin(Stage.NOTHING)
        super().loseConnection()

    def hand_over(self) -> Any:
        self._begin(Stage.NOTHING)
        return super().hand_over()

    def left(self) -> None:
        """Take note that the connection is no more, whoever has had it. May be
        repeated."""
        if self._inside:
            self._inside = False
            self.site.doors.leave(self._origin)

    def pause_body(self) -> None:
        self._made_to_wait = True
        super().pause_body()

    def _enter_as(self) -> str | None:
        """Count the connection for its client; return why that can't be. Proxies
        that speak for many are nobody."""
        who = None if self.peer.trusted else origin(self.peer.address)
        refusal = self.site.doors.refusal_of(who)
        if refusal is None:
            self.site.doors.enter_as(who)
            self._origin = who
        return refusal

    def _turn_away(self, reason: str) -> None:
        """Answer, and give the client a moment to read that: if the connection was
        closed while it still sends, the answer would be lost."""
        self.left()
        self._refused = True
        self._outside = self.site.doors.turn_away(reason)
        if self._outside:
            self.transport.write(_TURNED_AWAY % reason.encode("ascii"))
            self.setTimeout(TURN_AWAY_SECONDS)
        else:
            self.transport.abortConnection()

    def _find_stage(self) -> Stage:
        if self._refused:
            return Stage.NOTHING
        if self.line_mode:
            return Stage.HEAD if self._buffer or self.requests else Stage.NOTHING
        return Stage.NOTHING if self._transferDecoder is None else Stage.BODY

    def _begin(self, stage: Stage) -> None:
        """Begin to watch what the connection waits for now."""
        self._stage = stage
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        self._watch = None
        if stage is Stage.HEAD:
            self._watch = self.callLater(HEAD_SECONDS, self._cut_off)
        elif stage is Stage.BODY:
            self._received_before = self._received
            self._made_to_wait = self.body_paused
            self._watch = self.callLater(BODY_SECONDS, self._look_at_body)

    def _look_at_body(self) -> None:
        enough = self._received - self._received_before >= BODY_BYTES
        if enough or self._made_to_wait:
            self._begin(Stage.BODY)
        else:
            self._cut_off()

    def _cut_off(self) -> None:
        """End the connection of a client that is too slow."""
        self.setTimeout(None)
        self.refuse(REQUEST_TIMEOUT, b"Request Timeout")
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
