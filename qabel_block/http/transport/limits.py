"""Limits concurrent connections, in total and per client address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from twisted.logger import Logger

from qabel_block.util.throttle import Throttle

log = Logger()

IPV6_NETWORK = 64
"""One customer of a provider has at least so much (RFC 6177)."""

MAX_REJECTING = 200
"""Connections that are told at a time why they were rejected."""

FULL = "Too many connections"
FULL_OF_ONE = "Too many connections from your address"


@lru_cache(1024)
def origin(address: str) -> str | None:
    """Return the client to which an address belongs: an IPv4 address, or an IPv6
    network.

    :return: ``None`` for whoever is on this machine, where nobody needs to be kept
        off and proxies speak for many.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None  # a socket in the file system
    if parsed.is_loopback:
        return None
    if isinstance(parsed, IPv6Address):
        return f"{int(parsed) >> (128 - IPV6_NETWORK):x}"
    return str(parsed)


class ConnectionLimiter:
    """Counts the connections of a server.

    :param most: connections at a time; 0 is any number.
    :param most_of_one: connections of one origin at a time; 0 is any number.
    :param now: seconds, from whenever.
    """

    def __init__(
        self,
        most: int = 0,
        most_of_one: int = 0,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open = 0
        self._of_one: Counter[str] = Counter()
        self._rejecting = 0
        self._rejected = 0
        self._reports = Throttle(now)

    def refusal(self) -> str | None:
        """Return why no connection is accepted now, if so."""
        return FULL if self._most and self._open >= self._most else None

    def client_refusal(self, who: str | None) -> str | None:
        """Return why no connection of this client is accepted now, if so."""
        if who is None or not self._most_of_one:
            return None
        return FULL_OF_ONE if self._of_one[who] >= self._most_of_one else None

    def enter(self) -> None:
        """Count a connection."""
        self._open += 1

    def enter_client(self, who: str | None) -> None:
        """Count a connection for its client as well."""
        if who is not None:
            self._of_one[who] += 1

    def leave(self, who: str | None) -> None:
        """Count a connection no more.

        :param who: for whom it was counted, if for anybody.
        """
        self._open -= 1
        if who is not None:
            self._of_one[who] -= 1
            if not self._of_one[who]:
                del self._of_one[who]

    def reject(self, reason: str) -> bool:
        """Count a connection that is not accepted.

        :return: whether there is time to tell it why; ``forget`` has to be called then.
        """
        self._report(reason)
        if self._rejecting >= MAX_REJECTING:
            return False
        self._rejecting += 1
        return True

    def forget(self) -> None:
        """Take note that a rejected connection is no more."""
        self._rejecting -= 1

    def _report(self, reason: str) -> None:
        self._rejected += 1
        if self._reports.allows():
            log.warn(
                "connections turned away: {count} ({reason})",
                count=self._rejected,
                reason=reason,
            )
            self._rejected = 0
