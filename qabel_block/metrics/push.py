"""Measures push: what is published, and who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from qabel_block.http.websocket import WebSocket
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


class MeasuredSocket(WebSocket):
    """A subscriber's socket that is counted.

    :param now: seconds, of a clock that never goes back.
    """

    def __init__(
        self, metrics: Metrics, now: Callable[[], float], *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._metrics = metrics
        self._now = now
        self._opened: float | None = None

    def onOpen(self) -> None:
        self._opened = self._now()
        self._metrics.websockets.inc()
        super().onOpen()

    def onClose(self, was_clean: bool, code: object, reason: object) -> None:
        if self._opened is not None:
            self._metrics.websockets.dec()
            for histogram in self._metrics.websocket_durations:
                histogram.observe(self._now() - self._opened)
            self._opened = None
        super().onClose(was_clean, code, reason)

    def sendMessage(self, payload: bytes, *arguments: Any, **options: Any) -> None:
        self._metrics.websocket_messages.inc()
        super().sendMessage(payload, *arguments, **options)
