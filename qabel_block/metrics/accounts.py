"""Measures lookups of accounts, and hits of their caches."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from zope.interface import implementer

from qabel_block.errors import UnknownUser
from qabel_block.interfaces import IAuthenticator, ICache
from qabel_block.metrics.definitions import FAILED, KNOWN, UNKNOWN, Metrics
from qabel_block.model import Account


@implementer(IAuthenticator)
class MeasuredAuthenticator:
    """Stands in front of whoever knows the users, behind all caches.

    :param now: seconds, of a clock that never goes back.
    """

    def __init__(
        self, inner: IAuthenticator, metrics: Metrics, now: Callable[[], float]
    ) -> None:
        self._inner = inner
        self._waited = metrics.wait_for_auth
        self._now = now
        self._known, self._unknown, self._failed = (
            metrics.auth_answers.labels(outcome) for outcome in (KNOWN, UNKNOWN, FAILED)
        )

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        """See :meth:`IAuthenticator.authenticate`."""
        return await self._answer(self._inner.authenticate(authorization, request_id))

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        """See :meth:`IAuthenticator.recall`. It is nobody's wait."""
        return await self._inner.recall(authorization, request_id)

    async def account(self, user_id: int, request_id: str) -> Account:
        """See :meth:`IAuthenticator.account`."""
        return await self._answer(self._inner.account(user_id, request_id))

    async def check(self) -> None:
        """See :meth:`IAuthenticator.check`. It is nobody's wait."""
        await self._inner.check()

    async def close(self) -> None:
        """See :meth:`IAuthenticator.close`."""
        await self._inner.close()

    async def _answer(self, asking: Coroutine[Any, Any, Account]) -> Account:
        began = self._now()
        outcome = self._failed
        try:
            account = await asking
            outcome = self._known
            return account
        except UnknownUser:
            outcome = self._unknown
            raise
        finally:
            self._waited.observe(self._now() - began)
            outcome.inc()


@implementer(ICache)
class MeasuredCache:
    """Stands in front of the cache that all processes share, in which nothing is set
    but accounts."""

    def __init__(self, inner: ICache, metrics: Metrics) -> None:
        self._inner = inner
        self._hits = metrics.auth_cache_hits
        self._sets = metrics.auth_cache_sets

    async def start(self) -> None:
        """See :meth:`ICache.start`."""
        await self._inner.start()

    async def get(self, key: str) -> str | None:
        """See :meth:`ICache.get`."""
        value = await self._inner.get(key)
        if value is not None:
            self._hits.inc()
        return value

    async def set(self, key: str, value: str, seconds: int) -> None:
        """See :meth:`ICache.set`."""
        await self._inner.set(key, value, seconds)
        self._sets.inc()

    async def count(self, key: str, seconds: int) -> tuple[int, float]:
        """See :meth:`ICache.count`."""
        counted: tuple[int, float] = await self._inner.count(key, seconds)
        return counted

    async def check(self) -> None:
        """See :meth:`ICache.check`."""
        await self._inner.check()

    async def close(self) -> None:
        """See :meth:`ICache.close`."""
        await self._inner.close()
