"""TLS with certificates that can be reloaded."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.ssl import ContextFactory
from twisted.protocols.tls import TLSMemoryBIOFactory


class Certificate(ContextFactory):
    """The certificate for new connections; those that are open keep theirs.

    :ivar current: an OpenSSL context factory.
    """

    def __init__(self, current: Any) -> None:
        self.current = current

    def getContext(self) -> Any:
        """Called by Twisted for each connection."""
        return self.current.getContext()


def encrypted(
    certificate: Certificate, factory: IProtocolFactory, reactor: Any
) -> IProtocolFactory:
    """Return a factory that speaks TLS and hands what it decrypts to ``factory``."""
    return TLSMemoryBIOFactory(certificate, False, factory, reactor)
