"""In-process caches of accounts and of what is known of tokens."""

from __future__ import annotations

from cachetools import TLRUCache, TTLCache
from twisted.internet.interfaces import IReactorTime

from qabel_block.model import Account


class AccountCache:
    """Keeps accounts until they expire, up to a number of them.

    :param clock: tells when that is.
    :param limit: accounts; beyond that the ones not used for longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, limit: int = 30_000) -> None:
        self._clock = clock
        self._entries: TLRUCache[str, tuple[float, Account], float] = TLRUCache(
            limit, ttu=lambda _key, entry, _now: entry[0], timer=clock.seconds
        )

    def get(self, key: str) -> Account | None:
        """Return the account kept under ``key``, unless it has expired."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def keep(self, key: str, account: Account, seconds: float) -> None:
        """Keep an account for some seconds from now on."""
        self._entries[key] = (self._clock.seconds() + seconds, account)


class KeyCache:
    """Keeps keys for some time, up to a number of them.

    :param clock: tells when that is over.
    :param limit: keys; beyond that the ones kept longest are forgotten.
    """

    def __init__(self, clock: IReactorTime, seconds: float, limit: int) -> None:
        self._keys: TTLCache[str, None, float] = TTLCache(
            limit, seconds, timer=clock.seconds
        )

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keep(self, key: str) -> None:
        """Keep a key from now on."""
        self._keys[key] = None

    def forget(self, key: str) -> None:
        """Keep a key no longer."""
        self._keys.pop(key, None)
