"""POSTs questions that change nothing, so that they may be asked again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from io import BytesIO
from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Cooperator
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    FileBodyProducer,
    HTTPConnectionPool,
    ResponseDone,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

REUSED_SECONDS = 2.0
"""Seconds for an answer on a connection that was used before. A NAT or a firewall may
have forgotten it, without telling either side."""


HEAD_LIMIT = 64 * 1024
"""Bytes of an answer's head."""


class QueryClient:
    """Keeps connections to one server and uses them again.

    A question that gets no answer on a connection that was kept is asked once more,
    on a new one: Twisted's own pool would not repeat a POST. The other connections
    that are kept are given up then, since what ended one has ended all.

    :param reactor: connects and tells the time.
    :param connections: how many are kept.
    :param answer_limit: bytes of the longest answer.
    """

    def __init__(
        self, reactor: Any, connections: int, connect_seconds: float, answer_limit: int
    ) -> None:
        self._reactor = reactor
        self._limit = answer_limit
        self._pool = _CountingPool(reactor)
        self._pool.received_limit = HEAD_LIMIT + answer_limit
        self._pool.maxPersistentPerHost = connections
        self._pool.retryAutomatically = False
        # By default treq would send bodies by the global reactor.
        cooperator = Cooperator(scheduler=lambda call: reactor.callLater(0, call))
        self._http = HTTPClient(
            _PlainAgent(reactor, connectTimeout=connect_seconds, pool=self._pool),
            data_to_body_producer=lambda body: FileBodyProducer(
                BytesIO(body), cooperator
            ),
        )

    async def post(
        self, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Return status and body of the answer. Redirections are not followed.

        :raises Exception: whatever Twisted's client raises, or ``ValueError`` if the
            answer is too long or encoded.
        """
        dialled = self._pool.dialled
        answering = self._ask(url, headers, body)
        if self._pool.dialled == dialled:
            # It is on a connection that was kept.
            answering.addTimeout(REUSED_SECONDS, self._reactor)
            answering.addErrback(self._ask_again, url, headers, body)
        return await answering

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.closeCachedConnections()

    def _ask(
        self, url: str, headers: dict[str, str], body: bytes
    ) -> Deferred[tuple[int, bytes]]:
        asked: Deferred[Any] = self._http.post(
            url,
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=body,
            allow_redirects=False,
            unbuffered=True,
        )
        return asked.addCallback(self._read)

    def _ask_again(
        self, failure: Failure, url: str, headers: dict[str, str], body: bytes
    ) -> Deferred[tuple[int, bytes]]:
        if failure.check(ValueError):
            failure.raiseException()
        self._pool.closeCachedConnections().addErrback(lambda _: None)
        return self._ask(url, headers, body)

    def _read(self, response: Any) -> Deferred[tuple[int, bytes]]:
        body = _Body(self._limit)
        response.deliverBody(body)
        return body.ended.addCallback(lambda read: (response.code, read))


class _PlainAgent(Agent):
    """Keeps from treq what it would act upon unasked.

    It would store cookies and send them back, fail over those that are not ASCII
    without taking the body, and decompress answers before their size is limited.
    """

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"Accept-Encoding", [b"identity"])
        asked = super().request(method, uri, plain, bodyProducer)
        return asked.addCallback(_without_extras)


def _without_extras(response: IResponse) -> IResponse:
    """Return an answer without its cookies.

    :raises ValueError: if its body is encoded; nothing is read of that.
    """
    for name in (b"Set-Cookie", b"Set-Cookie2"):
        response.headers.removeHeader(name)
    for coding in response.headers.getRawHeaders(b"Content-Encoding", ()):
        if coding.lower() != b"identity":
            response.deliverBody(_Refusal())
            raise ValueError("the answer is encoded")
    return response


class _Refusal(Protocol):
    """Takes nothing of an answer, and ends the connection if there is more to come."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Body(Protocol):
    """Reads an answer; who stops waiting for it ends the connection."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._read = bytearray()
        self.ended: Deferred[bytes] = Deferred(lambda _: self._hang_up())

    def dataReceived(self, data: bytes) -> None:
        self._read.extend(data)
        if len(self._read) > self._limit and not self.ended.called:
            self.ended.errback(ValueError("the answer is too long"))
            self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.ended.called:
            return
        if reason.check(ResponseDone):
            self.ended.callback(bytes(self._read))
        else:
            self.ended.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _CountingPool(HTTPConnectionPool):
    """:ivar dialled: how many new connections were begun.
    :ivar received_limit: bytes that may come before something is sent again.
    """

    dialled = 0
    received_limit = 0

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Any:
        def dial(factory: Any) -> Any:
            self.dialled += 1
            limited = _LimitedFactory(factory, self.received_limit)
            connecting: Deferred[Any] = endpoint.connect(limited)
            return connecting.addCallback(lambda wrapper: wrapper.wrappedProtocol)

        return super().getConnection(key, _Endpoint(dial))


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """Connects as it is told."""

    def __init__(self, connect: Callable[[Any], Any]) -> None:
        self._connect = connect

    def connect(self, protocolFactory: Any) -> Any:  # noqa: N803
        return self._connect(protocolFactory)


class _LimitedProtocol(ProtocolWrapper):
    """Ends a connection on which too much comes for one answer: Twisted's client
    takes any number of lines of a head."""

    factory: _LimitedFactory
    _received = 0

    def writeSequence(self, data: Iterable[bytes]) -> None:
        # By which Twisted's client sends heads.
        self._received = 0
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.factory.limit:
            self.abortConnection()
        else:
            super().dataReceived(data)


class _LimitedFactory(WrappingFactory):
    protocol = _LimitedProtocol
    noisy = False

    def __init__(self, factory: Any, limit: int) -> None:
        super().__init__(factory)
        self.limit = limit
