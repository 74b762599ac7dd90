"""Limits how many tokens may fail from one address (PROTOCOL section 10)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from attrs import define, field

from qabel_block.errors import TooManyFailedLogins, Unavailable, UnknownUser
from qabel_block.interfaces import IAuthenticator, ICache
from qabel_block.model import Account
from qabel_block.util.event import Waiters

LIMIT = 30
"""Tokens of one origin that may fail in a period."""

PERIOD_SECONDS = 60.0

ORIGINS = 10_000
"""Origins of which failures are counted at a time; beyond that those are forgotten
that have failed longest ago."""


@define
class _Failures:
    """:ivar until: when the period ends.
    :ivar asking: tokens that are being looked up now.
    :ivar ended: those that wait for one of these to end.
    """

    until: float
    count: int = 0
    asking: int = 0
    ended: Waiters[None] = field(factory=Waiters)


class FailedLogins:
    """Counts the tokens that fail, by the origin of their requests.

    A period begins with the first failure. Look-ups that are under way count as if
    they might fail, so that many at once are not more than many in turn.

    What others count of the same origin counts here as soon as one fails here, so
    that no more failures than the limit are told, by whatever processes. Without the
    shared cache each process counts for itself.

    :param elapsed: seconds, of a clock that never goes back.
    :param cache: shared by all processes.
    """

    def __init__(self, elapsed: Callable[[], float], cache: ICache) -> None:
        self._elapsed = elapsed
        self._cache = cache
        self._origins: OrderedDict[str, _Failures] = OrderedDict()

    def is_suspect(self, origin: str) -> bool:
        """Say whether a token of this origin has failed lately, or may be failing."""
        failures = self._current(origin)
        return failures is not None and failures.count + failures.asking > 0

    def require_few(self, origin: str) -> None:
        """Make sure that more tokens of this origin may be looked up now or later.

        :raises TooManyFailedLogins: if not.
        """
        failures = self._current(origin)
        if failures is not None and failures.count >= LIMIT:
            raise TooManyFailedLogins(failures.until - self._elapsed())

    @asynccontextmanager
    async def attempt(self, origin: str) -> AsyncIterator[None]:
        """Be in this block while a token is looked up, which fails by
        :class:`UnknownUser`.

        :raises TooManyFailedLogins: if no more are looked up now.
        """
        failures = await self._wait_for_attempt(origin)
        failures.asking += 1
        try:
            yield
        except UnknownUser:
            if await self._count(origin, failures) > LIMIT:
                left = failures.until - self._elapsed()
                raise TooManyFailedLogins(left) from None
            raise
        finally:
            failures.asking -= 1
            failures.ended.wake(None)
            idle = not failures.count and not failures.asking
            if idle and self._origins.get(origin) is failures:
                del self._origins[origin]

    async def _count(self, origin: str, failures: _Failures) -> int:
        """Count a failure, here and for all processes; return how many there are."""
        if not failures.count:
            failures.until = self._elapsed() + PERIOD_SECONDS
        failures.count += 1
        self._keep(origin, failures)
        with suppress(Unavailable):
            key = f"failed-logins:{origin}"
            total, left = await self._cache.count(key, int(PERIOD_SECONDS))
            failures.count = max(failures.count, total)
            failures.until = min(failures.until, self._elapsed() + left)
        return failures.count

    async def _wait_for_attempt(self, origin: str) -> _Failures:
        """Return when one more may be looked up."""
        while True:
            self.require_few(origin)
            failures = self._current(origin) or self._begin(origin)
            if failures.count + failures.asking < LIMIT:
                return failures
            await failures.ended.wait()

    def _current(self, origin: str) -> _Failures | None:
        failures = self._origins.get(origin)
        if failures is not None and failures.until <= self._elapsed():
            failures.count = 0
        return failures

    def _begin(self, origin: str) -> _Failures:
        failures = _Failures(self._elapsed())
        self._keep(origin, failures)
        return failures

    def _keep(self, origin: str, failures: _Failures) -> None:
        self._origins[origin] = failures
        self._origins.move_to_end(origin)
        if len(self._origins) > ORIGINS:
            self._origins.popitem(last=False)


class LoginGuard:
    """Asks an authenticator, unless too many tokens of an origin have failed.

    Then only those tokens are served that are known without looking them up.
    """

    def __init__(self, inner: IAuthenticator, failed: FailedLogins) -> None:
        self._inner = inner
        self._failed = failed

    async def authenticate(
        self, authorization: str, request_id: str, origin: str | None
    ) -> Account:
        """Return the account to which an ``Authorization`` header belongs.

        :param origin: whose failures count together; ``None`` if they don't count.
        :raises UnknownUser: if there is no such token, or the header is malformed.
        :raises TooManyFailedLogins: if too many have failed.
        :raises Unavailable: if nobody can tell at the moment.
        """
        if origin is None:
            return await self._inner.authenticate(authorization, request_id)
        if self._failed.is_suspect(origin):
            known = await self._inner.recall(authorization, request_id)
            if known is not None:
                return known
            self._failed.require_few(origin)
        try:
            async with self._failed.attempt(origin):
                return await self._inner.authenticate(authorization, request_id)
        except TooManyFailedLogins:
            # Another request may have shown meanwhile that it is good.
            known = await self._inner.recall(authorization, request_id)
            if known is None:
                raise
            return known

    async def authenticate_again(self, authorization: str, request_id: str) -> Account:
        """Return the account of a header that was good before. If it no longer is, that
        is no guess: it is neither counted nor limited.

        :raises UnknownUser: if the token is not valid any more.
        :raises Unavailable: if nobody can tell at the moment.
        """
        return await self._inner.authenticate(authorization, request_id)
