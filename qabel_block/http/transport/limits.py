"""Lets in so many connections, and so many of one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from twisted.logger import Logger

log = Logger()

IPV6_NETWORK = 64
"""One customer of a provider has at least so much (RFC 6177)."""

QUIET_SECONDS = 60.0
"""How long not to repeat in the log that connections are turned away."""

MOST_OUTSIDE = 200
"""Connections that are told at a time why they were turned away."""

FULL = "Too many connections"
FULL_OF_ONE = "Too many connections from your address"


def origin(address: str) -> str | None:
    """Return who counts as one: an IPv4 address, or an IPv6 network.

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
    """Counts who is in.

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
        self._now = now
        self._inside = 0
        self._of_one: Counter[str] = Counter()
        self._outside = 0
        self._turned_away = 0
        self._quiet_until = 0.0

    def refusal(self) -> str | None:
        """Return why nobody can come in now, if so."""
        return FULL if self._most and self._inside >= self._most else None

    def client_refusal(self, who: str | None) -> str | None:
        """Return why nobody of this origin can come in now, if so."""
        if who is None or not self._most_of_one:
            return None
        return FULL_OF_ONE if self._of_one[who] >= self._most_of_one else None

    def enter(self) -> None:
        """Count a connection."""
        self._inside += 1

    def enter_client(self, who: str | None) -> None:
        """Count a connection for its origin as well."""
        if who is not None:
            self._of_one[who] += 1

    def leave(self, who: str | None) -> None:
        """Count a connection no more.

        :param who: for whom it was counted, if for anybody.
        """
        self._inside -= 1
        if who is not None:
            self._of_one[who] -= 1
            if not self._of_one[who]:
                del self._of_one[who]

    def reject(self, reason: str) -> bool:
        """Take note of a connection that is not let in.

        :return: whether there is time to tell it why; it has to be forgotten then.
        """
        self._report(reason)
        if self._outside >= MOST_OUTSIDE:
            return False
        self._outside += 1
        return True

    def forget(self) -> None:
        """Take note that a connection that was turned away is no more."""
        self._outside -= 1

    def _report(self, reason: str) -> None:
        self._turned_away += 1
        if self._now() >= self._quiet_until:
            self._quiet_until = self._now() + QUIET_SECONDS
            log.warn(
                "connections turned away: {count} ({reason})",
                count=self._turned_away,
                reason=reason,
            )
            self._turned_away = 0
