"""Counts requests and connections."""

from __future__ import annotations

from typing import Any

from twisted.web.http import RESPONSES

from qabel_block.http.transport.interfaces import (
    CLIENT_GONE,
    ChannelRequest,
    SiteChannel,
)
from qabel_block.http.transport.site import BlockSite
from qabel_block.metrics.buffered import BufferedCounter
from qabel_block.metrics.definitions import Metrics

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE"})


class MeasuredSite(BlockSite):
    """A site whose requests are counted.

    Labels are made of what was answered, never of what was asked.
    """

    def __init__(self, metrics: Metrics, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._metrics = metrics

    def opened(self, channel: SiteChannel) -> None:
        """See :meth:`BlockSite.opened`."""
        super().opened(channel)
        self._metrics.connections.set(len(self._channels))

    def closed(self, channel: SiteChannel) -> None:
        """See :meth:`BlockSite.closed`."""
        super().closed(channel)
        self._metrics.connections.set(len(self._channels))

    def began(self, request: ChannelRequest) -> None:
        """See :meth:`BlockSite.began`."""
        super().began(request)
        self._metrics.requests_in_progress.inc()

    def ended(self, request: ChannelRequest) -> None:
        """See :meth:`BlockSite.ended`."""
        super().ended(request)
        metrics, status = self._metrics, request.status
        metrics.requests_in_progress.dec()
        metrics.response_time.observe(self.reactor.seconds() - request.arrived)
        self._answer(request.method, status).inc()
        if status >= 400:
            metrics.denied.labels(_reason(request)).inc()
        if status == 413:
            metrics.too_large.inc()

    def refused(self, channel: SiteChannel, request_id: str, status: int) -> None:
        """See :meth:`BlockSite.refused`."""
        super().refused(channel, request_id, status)
        self._answer(b"-", status).inc()
        self._metrics.denied.labels(RESPONSES[status].decode("ascii")).inc()

    def _answer(self, method: bytes, status: int) -> BufferedCounter:
        name = method.decode("ascii") if method in _METHODS else "other"
        return self._metrics.requests.labels(name, status)


def _reason(request: ChannelRequest) -> str:
    if request.status == CLIENT_GONE:
        return "Client gone"
    if request.refused is not None:
        return RESPONSES[request.refused].decode("ascii")
    return request.code_message.decode("latin-1")
