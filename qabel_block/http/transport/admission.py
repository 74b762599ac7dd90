"""Decides whether a connection is served: limits, and what it begins with."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from qabel_block.http.transport.framing import foreign_protocol
from qabel_block.http.transport.limits import ConnectionLimiter, origin
from qabel_block.http.transport.trusted_proxies import Peer
from qabel_block.util.proxy_protocol import ProxyHeaderWrapper


@frozen
class OverLimit:
    """There are too many connections.

    :ivar is_told: whether there is time to tell the client.
    """

    reason: str
    is_told: bool


@frozen
class WrongProtocol:
    """The connection does not begin as it should."""

    found: str
    expected: str

    @property
    def text(self) -> str:
        """What to tell people."""
        return f"This port expects {self.expected}, but there is {self.found}.\n"


class Admission:
    """Counts one connection, and gives back what it has counted.

    :param transport: the connection's.
    :param limiter: all connections' counters.
    :param peer: returns who is at the other end, as far as that is known.
    """

    def __init__(
        self, transport: object, limiter: ConnectionLimiter, peer: Callable[[], Peer]
    ) -> None:
        self._proxied = transport if isinstance(transport, ProxyHeaderWrapper) else None
        self._limiter = limiter
        self._peer = peer
        self._entered = False
        self._rejecting = False
        self._client: str | None = None

    def connected(self) -> OverLimit | None:
        """Count a new connection; return why it is not served, if so."""
        reason = self._limiter.refusal()
        if reason is not None:
            return self._reject(reason)
        self._limiter.enter()
        self._entered = True
        return None if self._proxied else self._enter_client()

    def first_data(self, data: bytes) -> OverLimit | WrongProtocol | None:
        """Look at the first bytes; return why the connection is not served, if so.

        Other protocols would not send what ends a head, and wait for an answer.
        """
        if self._proxied is not None:
            if self._proxied.header_missing:
                return WrongProtocol("something else", "a PROXY header")
            refusal = self._enter_client()
            if refusal is not None:
                return refusal
        spoken = foreign_protocol(data)
        return None if spoken is None else WrongProtocol(spoken, "HTTP")

    def leave(self) -> None:
        """Count the connection no more. May be repeated."""
        if self._entered:
            self._entered = False
            self._limiter.leave(self._client)

    def close(self) -> None:
        """Count the connection no more, rejected or not. May be repeated."""
        self.leave()
        if self._rejecting:
            self._rejecting = False
            self._limiter.forget()

    def _enter_client(self) -> OverLimit | None:
        """Count the connection for its client. Proxies that speak for many are
        nobody."""
        peer = self._peer()
        who = None if peer.trusted else origin(peer.address)
        reason = self._limiter.client_refusal(who)
        if reason is not None:
            return self._reject(reason)
        self._limiter.enter_client(who)
        self._client = who
        return None

    def _reject(self, reason: str) -> OverLimit:
        self.leave()
        self._rejecting = self._limiter.reject(reason)
        return OverLimit(reason, self._rejecting)
