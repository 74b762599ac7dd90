"""Caches accounts, and coalesces concurrent lookups of the same one."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.accounts.cache_entries import EntrySigner, InvalidEntry, user_key
from qabel_block.accounts.memory import AccountCache, KeyCache
from qabel_block.errors import Unavailable, UnknownUser
from qabel_block.interfaces import IAuthenticator, ICache
from qabel_block.model import Account
from qabel_block.util.event import Waiters
from qabel_block.util.throttle import Throttle

log = Logger()

SECONDS = 60
"""How long an answer is good (PROTOCOL section 5)."""

UNKNOWN_SECONDS = 5.0
"""How long somebody stays unknown: so short that nobody notices who was given a token
after trying it, and long enough for a client that goes on trying."""

GOOD_SECONDS = 86_400.0
"""How long a token that was good is looked up in any case."""

_TOKEN = re.compile(r"token +[\x21-\x7e]{1,1024} *", re.IGNORECASE)
"""``Token`` and one word, which is what the accounting server looks for."""


@implementer(IAuthenticator)
class CachingAuthenticator:
    """Stands in front of another authenticator.

    What it learns goes into a cache that all nodes share, and stays in this
    process until the same moment, so that most look-ups ask nobody.

    Tokens are never kept: the key of an entry is their HMAC. Entries are signed:
    who can write to the cache can't be another user by that. A header that can't be
    one with a token is nobody's, without asking; and whoever was unknown stays so
    for a moment, so that it costs the accounting server little if somebody guesses.

    :param secret: all nodes that share the cache share it.
    :param now: seconds since 1970, for when shared entries expire.
    :param hit: told of each account that this process still knew.
    """

    def __init__(
        self,
        inner: IAuthenticator,
        cache: ICache,
        secret: str,
        clock: IReactorTime,
        now: Callable[[], float],
        hit: Callable[[], None] = lambda: None,
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._entries = EntrySigner(secret)
        self._now = now
        self._recent = AccountCache(clock)
        self._hit = hit
        self._unknown = KeyCache(clock, UNKNOWN_SECONDS, 10_000)
        self._good = KeyCache(clock, GOOD_SECONDS, 30_000)
        self._asking: dict[str, Waiters[Account]] = {}
        self._complaints = Throttle(clock.seconds)

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        """See :meth:`IAuthenticator.authenticate`."""
        if not _TOKEN.fullmatch(authorization):
            raise UnknownUser
        return await self._look_up(
            self._entries.token_key(authorization),
            lambda: self._inner.authenticate(authorization, request_id),
        )

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        """See :meth:`IAuthenticator.recall`: from this process or the shared cache.

        Who was good here within a day is no stranger who guesses, and is looked up.
        """
        if not _TOKEN.fullmatch(authorization):
            return None
        key = self._entries.token_key(authorization)
        recent = self._recent.get(key)
        if recent is not None or key in self._unknown:
            return recent
        if key in self._good:
            with suppress(UnknownUser):
                return await self.authenticate(authorization, request_id)
            return None
        cached = await self._recall(key)
        return None if cached is None else cached[0]

    async def account(self, user_id: int, request_id: str) -> Account:
        """See :meth:`IAuthenticator.account`."""
        return await self._look_up(
            user_key(user_id), lambda: self._inner.account(user_id, request_id)
        )

    async def check(self) -> None:
        """See :meth:`IAuthenticator.check`: asks past the cache."""
        await self._inner.check()

    async def close(self) -> None:
        """See :meth:`IAuthenticator.close`."""
        await self._inner.close()

    async def _look_up(
        self, key: str, ask: Callable[[], Coroutine[Any, Any, Account]]
    ) -> Account:
        """Join a look-up that is under way, or begin one.

        It goes on whatever becomes of those who wait for it.
        """
        recent = self._recent.get(key)
        if recent is not None:
            self._hit()
            return recent
        if key in self._unknown:
            raise UnknownUser
        if key in self._asking:
            return await self._asking[key].wait()
        waiters = self._asking[key] = Waiters[Account]()
        waiting = waiters.wait()
        Deferred.fromCoroutine(self._tell(waiters, key, ask))
        return await waiting

    async def _tell(
        self,
        waiters: Waiters[Account],
        key: str,
        ask: Callable[[], Coroutine[Any, Any, Account]],
    ) -> None:
        try:
            account = await self._find(key, ask)
        except Exception as error:
            del self._asking[key]
            waiters.fail(error)
        else:
            del self._asking[key]
            waiters.wake(account)

    async def _find(
        self, key: str, ask: Callable[[], Coroutine[Any, Any, Account]]
    ) -> Account:
        cached = await self._recall(key)
        if cached is not None:
            account, seconds = cached
            self._recent.keep(key, account, seconds)
            return account
        try:
            account = await ask()
        except UnknownUser:
            self._unknown.keep(key)
            self._good.forget(key)
            raise
        self._good.keep(key)
        keys = {key, user_key(account.user_id)}
        for name in keys:
            self._recent.keep(name, account, SECONDS)
        await self._share(keys, account)
        return account

    async def _recall(self, key: str) -> tuple[Account, float] | None:
        """Return what the shared cache has, and for how many seconds it is good."""
        try:
            cached = await self._cache.get(key)
            if cached is None:
                return None
            account, expires = self._entries.read(key, cached)
        except Unavailable:
            return None  # Which the cache's check tells.
        except InvalidEntry as error:
            if self._complaints.allows():
                log.warn("a cached account is ignored: {error}", error=str(error))
            return None
        # Not longer than an answer of this moment, whatever another's clock said.
        seconds = min(expires - self._now(), SECONDS)
        return (account, seconds) if seconds > 0 else None

    async def _share(self, keys: set[str], account: Account) -> None:
        expires = self._now() + SECONDS
        with suppress(Unavailable):
            for key in keys:
                entry = self._entries.write(key, account, expires)
                await self._cache.set(key, entry, SECONDS)
