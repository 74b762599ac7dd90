"""What this process remembers of accounts and of unknown tokens for a few seconds."""

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


SECONDS = 5.0
"""How long somebody stays unknown: so short that nobody notices who was given a
token after trying it, and long enough for a client that goes on trying."""


class RecentlyUnknown:
    """Keeps keys for a short time, up to a number of them.

    :param clock: tells when that is over.
    :param limit: keys; beyond that the ones kept longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._until: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > self._clock.seconds()

    def keep(self, key: str) -> None:
        """Keep a key from now on."""
        self._until[key] = self._clock.seconds() + SECONDS
        self._until.move_to_end(key)
        while self._is_over():
            self._until.popitem(last=False)

    def _is_over(self) -> bool:
        """Say whether the key kept longest is one too many, or of no use."""
        if len(self._until) > self._limit:
            return True
        return next(iter(self._until.values())) <= self._clock.seconds()
