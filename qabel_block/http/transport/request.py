"""Requests whose handling starts when their head is complete.

Twisted collects a request's body before it calls ``process()``. Here the work
starts with the head, and the body streams to whoever reads ``request.body``.
An answer may therefore be complete before the body is; the connection then goes
on reading and discards, so that the client gets to read the answer (PROTOCOL
section 9), and only then turns to the next request.

This module leans on ``queued`` of :class:`twisted.web.http.Request`, which keeps
``finish()`` from ending the request's turn on its connection.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.server import Request

from qabel_block.http.transport.body import RequestBody
from qabel_block.http.transport.interfaces import (
    CLIENT_GONE,
    DISCARD_SECONDS,
    LARGE_READ_BYTES,
    SMALL_READ_BYTES,
    UNSENT_SECONDS,
    ConnectionSite,
    RequestChannel,
)
from qabel_block.http.transport.request_ids import choose_request_id
from qabel_block.http.transport.response_head import format_common
from qabel_block.http.transport.trusted_proxies import UNKNOWN

_ABSOLUTE_FORM = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class StreamingRequest(Request):
    """A request on a :class:`~qabel_block.http.transport.channel.BlockChannel`.

    :ivar body: an :class:`~qabel_block.interfaces.IBody`.
    :ivar request_id: the client's ``X-Request-ID`` if it is sane, else a new
        one; also sent with the answer.
    :ivar content_length: bytes of the body; ``None`` if it is chunked.
    :ivar user_id: who asked, once that is known; for the log.
    :ivar arrived: when its head was complete, in seconds since 1970.
    :ivar cut: whether the connection ended before the answer did.
    :ivar client: the address from which it comes, or what is known of that.
    :ivar refused: the status, if it was refused because of how its body came.
    """

    defaultContentType = None
    channel: Any  # a RequestChannel; None once the connection is lost
    site: ConnectionSite  # type: ignore[assignment]
    body: RequestBody
    request_id: str
    content_length: int | None
    user_id: int | None = None
    arrived = 0.0
    cut = False
    client = UNKNOWN
    refused: int | None = None
    _awaits_continue = False
    _discarded = 0
    _discard_timer: IDelayedCall | None = None

    def headReceived(
        self, method: bytes, target: bytes, version: bytes, length: int | None
    ) -> None:
        """Start the work. Called by the channel when the head is complete."""
        self.method, self.uri, self.clientproto = method, target, version
        if not target.startswith(b"/"):
            target = _ABSOLUTE_FORM.sub(b"", target, 1)
        self.path = target.partition(b"?")[0] or b"/"
        self.args = {}
        self.queued = True
        self.content_length = length
        self.body = RequestBody(self)
        channel: RequestChannel = self.channel
        if length is None or length > SMALL_READ_BYTES:
            channel.receive_at_most(LARGE_READ_BYTES)
        self.site = channel.site
        self.arrived = self.site.reactor.seconds()
        self.request_id = choose_request_id(self.getHeader(b"X-Request-ID"))
        peer = channel.peer
        self.client = peer.address
        if peer.trusted:
            forwarded = self.requestHeaders.getRawHeaders(b"X-Forwarded-For")
            self.client = self.site.proxies.client(peer, forwarded)
        self._awaits_continue = (
            version == b"HTTP/1.1"
            and length != 0
            and (self.getHeader(b"Expect") or b"").lower() == b"100-continue"
        )
        self.site.began(self)
        self.process()

    @property
    def has_begun(self) -> bool:
        """Whether its head was complete."""
        return hasattr(self, "body")

    @cached_property
    def route_path(self) -> str:
        """The path as it was sent: ``%2F`` is not ``/`` and matches nothing. One slash
        at its end makes no difference (PROTOCOL section 2)."""
        return self.path.decode("latin-1").removesuffix("/") or "/"

    @property
    def status(self) -> int:
        """What was answered, or :data:`CLIENT_GONE`."""
        if self.refused is not None:
            return self.refused
        return CLIENT_GONE if self.cut and not self.startedWriting else self.code

    def process(self) -> None:
        """Give the request to the site's resource."""
        for name, value in self.site.cross_origin.headers(self.getHeader(b"Origin")):
            self.setHeader(name, value)
        self.render(self.site.resource)

    def common_headers(self) -> bytes:
        """Return the lines that are in the head of every answer."""
        return format_common(self.site.date.value(), self.request_id)

    def getRequestHostname(self) -> bytes:
        """Return a constant: nothing here depends on ``Host``, and routing
        would stumble over values that are no host names."""
        return b"localhost"

    def handleContentChunk(self, data: bytes) -> None:
        self._awaits_continue = False
        if not self.finished:
            self.body.feed(data)
            return
        self._discarded += len(data)
        if self._discarded > self.site.discard_bytes:
            self.channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take note that the body is complete. Called by the channel."""
        answered = self.finished
        self.queued = False
        self.channel.receive_at_most(SMALL_READ_BYTES)
        self.channel.body_complete()
        self.body.end()  # which may be all that the answer has waited for
        if answered:
            self._cancel_discard_timer()
            self._cleanup()

    def write(self, data: bytes) -> None:
        if not self.startedWriting and not self._disconnected:
            self._decide_persistence()
        super().write(data)
        if not self._disconnected:
            self.channel.send_head()

    def finish(self) -> None:
        if self._disconnected:
            return
        super().finish()
        if self.queued and self.content_length != 0:
            self.body.discard()
            seconds = UNSENT_SECONDS if self._awaits_continue else DISCARD_SECONDS
            self._discard_timer = self.site.reactor.callLater(
                seconds, self.channel.loseConnection
            )

    def connectionLost(self, reason: Failure) -> None:
        self._cancel_discard_timer()
        super().connectionLost(reason)
        if self.has_begun:
            if not self.finished:
                self.cut = self.refused is None
                self.site.ended(self)
            self.body.lose()

    def go_ahead(self) -> None:
        """See :class:`~qabel_block.http.transport.interfaces.FlowControl`."""
        if self._awaits_continue and not (self.startedWriting or self._disconnected):
            self._awaits_continue = False
            self.channel.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause(self) -> None:
        """See :class:`~qabel_block.http.transport.interfaces.FlowControl`."""
        if self.queued and not self._disconnected:
            self.channel.pause_body()

    def resume(self) -> None:
        """See :class:`~qabel_block.http.transport.interfaces.FlowControl`."""
        if self.queued and not self._disconnected:
            self.channel.resume_body()

    def abort(self) -> None:
        """Cut the connection, so that the client can't take what it has got of
        the answer for the whole."""
        if not self._disconnected:
            self.channel.transport.abortConnection()

    def _decide_persistence(self) -> None:
        if self._awaits_continue:
            # Whether a body will follow is the client's choice (RFC 9110
            # section 10.1.1), so where the next request begins can't be known.
            self.channel.persistent = False
        if self.clientproto != b"HTTP/1.1" and not self._has_length():
            self.channel.persistent = False

    def _has_length(self) -> bool:
        """Return whether the answer's end can be told without chunks, which HTTP/1.0
        does not know."""
        return (
            self.method == b"HEAD"
            or self.code in NO_BODY_CODES
            or self.responseHeaders.hasHeader(b"Content-Length")
        )

    def _cancel_discard_timer(self) -> None:
        if self._discard_timer is not None and self._discard_timer.active():
            self._discard_timer.cancel()
