"""Finds the address of a client, also behind trusted proxies."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from attrs import frozen

UNIX = "unix"
"""Stands for whoever connects to a socket in the file system."""

UNKNOWN = "unknown"

HOPS = 32
"""How many proxies behind each other are looked through."""


@frozen
class Peer:
    """The other end of a connection.

    :ivar address: normalised; :data:`UNIX` or :data:`UNKNOWN` if it has none.
    :ivar trusted: whether it is believed whom it says it speaks for.
    """

    address: str
    trusted: bool


class TrustedProxies:
    """Knows the proxies that are believed.

    :param trusted: addresses and networks, and :data:`UNIX`.
    :raises ValueError: if one of them is something else.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._unix = UNIX in trusted
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(one) for one in trusted if one != UNIX
        ]

    def peer(self, address: Any) -> Peer:
        """Return who is at the other end.

        :param address: Twisted's, which may be what the PROXY protocol says.
        """
        host = getattr(address, "host", None)
        if host is None:
            return Peer(UNIX, self._unix)
        known = _normalised(host)
        if known is None:
            return Peer(UNKNOWN, False)
        return Peer(known, self.trusts(known))

    def client(
        self, peer: Peer, forwarded: Sequence[bytes] | None, local: bool = False
    ) -> str:
        """Return the address of the client that a peer speaks for.

        Each proxy adds on the right of ``X-Forwarded-For`` from whom it got the
        request. So this is read from the right, for as long as who has written an
        entry is believed; what is further to the left may be made up.

        :param forwarded: lines of the header.
        :param local: whether loopback addresses are believed as well.
        """
        client = peer.address
        if not peer.trusted or not forwarded:
            return client
        entries = b",".join(forwarded).decode("latin-1").rsplit(",", HOPS)
        for entry in reversed(entries[-HOPS:]):
            named = _normalised(_without_port(entry.strip()))
            if named is None:
                break
            client = named
            if not (self.trusts(named) or (local and ip_address(named).is_loopback)):
                break
        return client

    def trusts(self, address: str) -> bool:
        """Say whether a normalised address is a proxy's that is believed."""
        if not self._networks:
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks)


def _normalised(text: str) -> str | None:
    """Return an address as it is usually written; ``None`` if it is none."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(parsed if mapped is None else mapped)


def _without_port(entry: str) -> str:
    """Some proxies write ``192.0.2.1:1234`` and ``[2001:db8::1]:1234``."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
