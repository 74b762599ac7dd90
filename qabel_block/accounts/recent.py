"""What this process has learnt of accounts a moment ago."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from qabel_block.model import Account


class RecentAccounts:
    """Keeps accounts until they expire, up to a number of them.

    :param clock: tells when that is.
    :param limit: accounts; beyond that the ones kept longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 30_000) -> None:
        self._clock = clock
        self._limit = limit
        self._entries: OrderedDict[str, tuple[float, Account]] = OrderedDict()

    def get(self, key: str) -> Account | None:
        """Return the account kept under ``key``, unless it has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, account = entry
        if expires > self._clock.seconds():
            return account
        del self._entries[key]
        return None

    def keep(self, key: str, account: Account, expires: float) -> None:
        """Keep an account until a time, in seconds since 1970."""
        self._entries[key] = (expires, account)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
