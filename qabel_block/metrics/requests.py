"""Counts requests and connections."""

from __future__ import annotations

from twisted.web.http import RESPONSES

from qabel_block.http.transport.interfaces import CLIENT_GONE, ChannelRequest
from qabel_block.metrics.buffered import BufferedCounter
from qabel_block.metrics.definitions import Metrics

_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE"})


class MeasuredRequests:
    """A :class:`~qabel_block.http.transport.interfaces.SiteRecorder`.

    Labels are made of what was answered, never of what was asked.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def connections(self, count: int) -> None:
        """See :meth:`SiteRecorder.connections`."""
        self._metrics.connections.set(count)

    def began(self) -> None:
        """See :meth:`SiteRecorder.began`."""
        self._metrics.requests_in_progress.inc()

    def ended(self, request: ChannelRequest, seconds: float) -> None:
        """See :meth:`SiteRecorder.ended`."""
        metrics, status = self._metrics, request.status
        metrics.requests_in_progress.dec()
        metrics.response_time.observe(seconds)
        self._answer(request.method, status).inc()
        if status >= 400:
            metrics.denied.labels(_reason(request)).inc()
        if status == 413:
            metrics.too_large.inc()

    def refused(self, status: int) -> None:
        """See :meth:`SiteRecorder.refused`."""
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
