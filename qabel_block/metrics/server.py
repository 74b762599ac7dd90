"""Serves metrics over HTTP, on a port of their own."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer

from qabel_block.listening.endpoints import CannotListen
from qabel_block.listening.listeners import Listeners

IDLE_SECONDS = 120
"""Longer than from one scrape to the next."""


class MetricsResource(Resource):
    """Shows a registry, whatever the path: legacy dashboards know several.

    :param prepare: called before each look.
    """

    isLeaf = True

    def __init__(
        self, registry: CollectorRegistry, prepare: Callable[[], None]
    ) -> None:
        super().__init__()
        self._registry = registry
        self._prepare = prepare

    def render_GET(self, request: Any) -> bytes:
        """Answer in the format that the client likes best."""
        self._prepare()
        encode, content_type = choose_encoder(_header(request, b"Accept"))
        body = encode(self._registry)
        request.setHeader(b"Content-Type", content_type.encode("ascii"))
        if "gzip" in _header(request, b"Accept-Encoding"):
            request.setHeader(b"Content-Encoding", b"gzip")
            body = gzip.compress(body, compresslevel=1)
        return body


def _header(request: Any, name: bytes) -> str:
    """Return a header's value; it may be any bytes."""
    return (request.getHeader(name) or b"").decode("latin-1")


class _MetricsRequest(Request):
    """A request that has no body: who sends one is not listened to."""

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        if length != 0:
            self.channel.loseConnection()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep nothing."""


class _QuietSite(Site):
    """Keeps no log of who looks."""

    requestFactory = _MetricsRequest
    noisy = False

    def log(self, request: Any) -> None:
        """Called by Twisted when an answer is complete."""


@implementer(IService)
class MetricsService(Service):
    """A service beside which metrics are served, to its very end.

    :param endpoint: Twisted's description of where.
    :param prepare: called before each look at the registry.
    :raises CannotListen: if that is wrong.
    """

    def __init__(
        self,
        inner: Service,
        endpoint: str,
        registry: CollectorRegistry,
        reactor: Any,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        site = _QuietSite(
            MetricsResource(registry, prepare), reactor=reactor, timeout=IDLE_SECONDS
        )
        endpoints: Sequence[str] = (endpoint,)
        self._listeners = Listeners(reactor, endpoints, site, purpose="metrics")

    def privilegedStartService(self) -> None:
        """Open the sockets while ``twistd`` still has its privileges.

        :raises SystemExit: with one line, if that can't be done.
        """
        super().privilegedStartService()
        self._open()
        self._inner.privilegedStartService()

    def startService(self) -> None:
        """Serve metrics, and start the service.

        :raises SystemExit: with one line, if that can't be done.
        """
        super().startService()
        self._open()
        self._listeners.start()
        self._inner.startService()

    def stopService(self) -> Deferred[None]:
        """Stop the service, then serving metrics."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        try:
            await self._inner.stopService()
        finally:
            await self._listeners.stop()

    def _open(self) -> None:
        try:
            self._listeners.open()
        except CannotListen as error:
            raise SystemExit(f"qabel-block: {error}") from error
