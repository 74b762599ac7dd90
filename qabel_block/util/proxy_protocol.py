"""The PROXY protocol, before which nobody knows who the client is.

This module leans on the insides of :mod:`twisted.protocols.haproxy`: the wrapper
itself, its ``_proxyInfo``, and how its parsers begin.
"""

from __future__ import annotations

from twisted.internet.interfaces import IProtocol
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.protocols.haproxy._wrapper import (
    HAProxyProtocolWrapper,
    HAProxyWrappingFactory,
)
from twisted.protocols.policies import WrappingFactory

_V1 = V1Parser.PROXYSTR + b" "
_V1_BYTES = 8
_V2_BYTES = 16
"""What Twisted's wrapper looks at, all of which has to come in one piece there."""


class ProxyHeaderWrapper(HAProxyProtocolWrapper):
    """Reads a PROXY header; says so when there is none.

    Whatever comes instead of a header is handed on, for the protocol to refuse it:
    nothing may be believed of a connection without one.

    :ivar header_missing: whether the connection began with something else.
    """

    def __init__(
        self, factory: WrappingFactory[ProxyHeaderWrapper], wrapped: IProtocol
    ) -> None:
        super().__init__(factory, wrapped)
        self.header_missing = False
        self._early = b""

    def dataReceived(self, data: bytes) -> None:
        if self._proxyInfo is None and self._parser is None:
            data = self._early + data
            self._early = b""
            if self.header_missing:
                return
            if not _may_begin(data):
                self.header_missing = True
                self.wrappedProtocol.dataReceived(data)
                return
            if len(data) < (_V1_BYTES if data.startswith(_V1[:1]) else _V2_BYTES):
                self._early = data
                return
        super().dataReceived(data)


def _may_begin(data: bytes) -> bool:
    """Return whether a header may begin like this."""
    return any(data.startswith(magic[: len(data)]) for magic in (_V1, V2Parser.PREFIX))


def detect_missing_headers(factory: object) -> None:
    """Let a factory make :class:`ProxyHeaderWrapper`, if it is one of Twisted's for
    the PROXY protocol."""
    if isinstance(factory, HAProxyWrappingFactory):
        factory.protocol = ProxyHeaderWrapper  # type: ignore[assignment]
