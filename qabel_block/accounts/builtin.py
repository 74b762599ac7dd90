"""Users and tokens that the ledger keeps (PROTOCOL section 10)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from qabel_block.accounts.tokens import digest_of
from qabel_block.errors import Unavailable, UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.ledger.accounts import AccountLookup, AccountTable, digest_prefix
from qabel_block.model import Account
from qabel_block.util.batching import BatchQueue
from qabel_block.util.cancellation import shield
from qabel_block.util.event import Waiters

FRESH_SECONDS = 3.0
"""How long it is relied on that nothing has changed since that was last asked. All
nodes heed a change within 5 seconds (PROTOCOL section 10)."""

REFRESH_SECONDS = 1.5
"""After how long that is asked again, while requests go on."""

REMEMBERED = 40_000
"""Tokens, and users, that one process remembers; unknown ones apart."""

LISTED = 100_000
"""Tokens whose digests one process keeps while strange ones are tried. If there are
more, each that is tried is looked up."""

K = TypeVar("K")


class LookupCache(Generic[K]):
    """Keeps what was found last, up to a number of each of known and unknown.

    What nobody has, and anybody may ask for, crowds out nothing that is there.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[K, AccountLookup] = OrderedDict()
        self._unknown: OrderedDict[K, AccountLookup] = OrderedDict()

    def get(self, key: K) -> AccountLookup | None:
        """Return what was kept under ``key``."""
        return self._known.get(key) or self._unknown.get(key)

    def keep(self, key: K, found: AccountLookup) -> None:
        """Keep what was found, in place of what was found before."""
        self._known.pop(key, None)
        self._unknown.pop(key, None)
        entries = self._unknown if found.account is None else self._known
        entries[key] = found
        if len(entries) > self._limit:
            entries.popitem(last=False)


@frozen
class TokenDigests:
    """What the digests of all tokens begin with.

    :ivar version: the count of changes at which they were read.
    :ivar asked: when.
    :ivar prefixes: ``None`` if there are too many to be kept.
    """

    version: int
    asked: float
    prefixes: frozenset[bytes] | None

    def may_have(self, digest: str) -> bool:
        """Say whether there may be a token with this digest."""
        return self.prefixes is None or digest_prefix(digest) in self.prefixes


@implementer(IAuthenticator)
class BuiltinAuthenticator:
    """Looks accounts up in the ledger, and remembers them while nothing changes.

    Every look-up brings the count of changes with it. What was found under the
    present count is good; whether it is still the present one is asked every moment,
    for all that is remembered together. So most requests ask nothing.

    What is remembered has the SHA-256 of a token as its key, never the token.

    :param elapsed: seconds, of a clock that never goes back.
    :param now: seconds since 1970, for tokens that expire.
    """

    def __init__(
        self,
        table: AccountTable,
        elapsed: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._elapsed = elapsed
        self._now = now
        self._by_token = LookupCache[str]()
        self._by_id = LookupCache[int]()
        self._version = -1
        self._checked = elapsed() - FRESH_SECONDS
        self._refreshing: Waiters[None] | None = None
        self._all_digests = BatchQueue(self._ask_digests, elapsed)
        self._digests: TokenDigests | None = None

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        """See :meth:`IAuthenticator.authenticate`."""
        digest = digest_of(authorization)
        if digest is None:
            raise UnknownUser
        found = await self._find(self._by_token, digest, self._table.find_token)
        if found.expires is not None and found.expires <= self._now():
            raise UnknownUser
        return _account(found)

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        """See :meth:`IAuthenticator.recall`.

        Once the digests of all tokens are in memory it is known which ones are worth
        a look-up, however many others are tried.
        """
        digest = digest_of(authorization)
        if digest is None or not await self._is_digest(digest):
            return None
        try:
            return await self.authenticate(authorization, request_id)
        except UnknownUser:
            return None

    async def account(self, user_id: int, request_id: str) -> Account:
        """See :meth:`IAuthenticator.account`."""
        return _account(await self._find(self._by_id, user_id, self._table.find_user))

    async def check(self) -> None:
        """See :meth:`IAuthenticator.check`."""
        await self._table.version()

    async def close(self) -> None:
        """See :meth:`IAuthenticator.close`. The ledger is closed by others."""

    async def _find(
        self,
        remembered: LookupCache[K],
        key: K,
        look_up: Callable[[K], Awaitable[AccountLookup]],
    ) -> AccountLookup:
        found = remembered.get(key)
        if found is not None and found.version == self._version:
            await self._revalidate()
            if found.version == self._version:
                return found
        asked = self._elapsed()
        found = await look_up(key)
        self._note_version(found.version, asked)
        remembered.keep(key, found)
        return found

    async def _revalidate(self) -> None:
        """Return when the count of changes is known, as of a moment ago."""
        age = self._elapsed() - self._checked
        if age < REFRESH_SECONDS:
            return
        waiting = self._refresh()
        if age >= FRESH_SECONDS:
            await waiting
        else:
            # It is known well enough; whoever comes later will not have to wait.
            waiting.addErrback(lambda failure: failure.trap(Unavailable))

    def _refresh(self) -> Deferred[None]:
        """Ask for the count of changes, or join whoever does."""
        if self._refreshing is None:
            self._refreshing = Waiters[None]()
            waiting = self._refreshing.wait()
            shield(self._ask_version())
            return waiting
        return self._refreshing.wait()

    async def _ask_version(self) -> None:
        waiters = self._refreshing
        assert waiters is not None
        asked = self._elapsed()
        try:
            version = await self._table.version()
        except Exception as error:
            self._refreshing = None
            waiters.fail(error)
        else:
            self._refreshing = None
            self._note_version(version, asked)
            waiters.wake(None)

    async def _is_digest(self, digest: str) -> bool:
        """Say whether a token may have this digest."""
        await self._revalidate()
        if self._digests is None or self._digests.version != self._version:
            self._digests = await self._all_digests.ask(None)
            self._note_version(self._digests.version, self._digests.asked)
        return self._digests.may_have(digest)

    async def _ask_digests(self, questions: Sequence[None]) -> list[TokenDigests]:
        asked = self._elapsed()
        version, digests = await self._table.token_digests(LISTED)
        few = digests if len(digests) < LISTED else None
        return [TokenDigests(version, asked, few)] * len(questions)

    def _note_version(self, version: int, asked: float) -> None:
        """Take note of the count of changes.

        :param asked: when it was asked for: it may have changed since.
        """
        if asked >= self._checked:
            self._version, self._checked = version, asked


def _account(found: AccountLookup) -> Account:
    if found.account is None:
        raise UnknownUser
    return found.account
