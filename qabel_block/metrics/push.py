"""Measures push: published events, open WebSockets, messages sent."""

from __future__ import annotations

from zope.interface import implementer

from qabel_block.interfaces import IListener, INotifier
from qabel_block.metrics.definitions import Metrics


@implementer(INotifier)
class MeasuredNotifier:
    """Stands in front of a notifier."""

    def __init__(self, inner: INotifier, metrics: Metrics) -> None:
        self._inner = inner
        self._published = metrics.published

    def start(self, listener: IListener) -> None:
        """See :meth:`INotifier.start`."""
        self._inner.start(listener)

    async def join(self, prefix: str) -> None:
        """See :meth:`INotifier.join`."""
        await self._inner.join(prefix)

    async def leave(self, prefix: str) -> None:
        """See :meth:`INotifier.leave`."""
        await self._inner.leave(prefix)

    def publish(self, prefix: str, message: str) -> None:
        """See :meth:`INotifier.publish`."""
        self._inner.publish(prefix, message)
        self._published.inc()

    def connections(self) -> int:
        """See :meth:`INotifier.connections`."""
        return self._inner.connections()

    async def check(self) -> None:
        """See :meth:`INotifier.check`."""
        await self._inner.check()

    async def close(self) -> None:
        """See :meth:`INotifier.close`."""
        await self._inner.close()


class MeasuredSockets:
    """A :class:`~qabel_block.http.websocket.socket.SocketRecorder`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def opened(self) -> None:
        """See :meth:`SocketRecorder.opened`."""
        self._metrics.websockets.inc()

    def closed(self, seconds: float) -> None:
        """See :meth:`SocketRecorder.closed`."""
        self._metrics.websockets.dec()
        for histogram in self._metrics.websocket_durations:
            histogram.observe(seconds)

    def sent(self) -> None:
        """See :meth:`SocketRecorder.sent`."""
        self._metrics.websocket_messages.inc()
