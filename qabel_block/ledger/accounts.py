"""Built-in accounts in the ledger (PROTOCOL section 10)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import TypeVar

from attrs import evolve, frozen

from qabel_block.errors import AccountNotFound, NameTaken
from qabel_block.ledger import account_queries as queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction, Row
from qabel_block.model import Account, NewToken, Permission, Token, User
from qabel_block.util.batching import BatchQueue, Schedule, immediately

T = TypeVar("T")

USERS = 2000
"""Users of a page."""

BLOBS = 1000
"""Blobs that are returned at a time."""


@frozen
class AccountLookup:
    """What was found under a token or a user ID.

    :ivar version: how often accounts had changed when it was looked up.
    :ivar account: ``None`` if there is none, or not any more.
    :ivar expires: when the token does, in seconds since 1970.
    """

    version: int
    account: Account | None = None
    expires: int | None = None


def digest_prefix(sha256: str) -> bytes:
    """Return the first 64 bits of a hexadecimal digest."""
    return bytes.fromhex(sha256[:16])


class AccountTable:
    """Users and their tokens.

    Changes happen one after the other, and each makes the number of changes greater,
    by which nodes notice that what they remember may be outdated. All methods raise
    :class:`~qabel_block.errors.Unavailable` if the database is down.

    :param now: seconds, from whenever.
    :param schedule: what to wait for, so that more is asked together.
    """

    def __init__(
        self,
        database: IDatabase,
        now: Callable[[], float],
        schedule: Schedule = immediately,
    ) -> None:
        self._database = database
        self._by_token = BatchQueue(self._ask_tokens, now, schedule)
        self._by_id = BatchQueue(self._ask_users, now, schedule)

    async def version(self) -> int:
        """Return how often accounts have changed."""
        rows = await self._database.fetch(queries.version)
        return int(rows[0][0])

    async def find_token(self, sha256: str) -> AccountLookup:
        """Return the account of a token, by its hexadecimal digest."""
        return await self._by_token.ask(sha256)

    async def find_user(self, user_id: int) -> AccountLookup:
        """Return the account of a user."""
        return await self._by_id.ask(user_id)

    async def token_digests(self, limit: int) -> tuple[int, frozenset[bytes]]:
        """Return what the digests of tokens begin with, and how often accounts had
        changed.

        :param limit: the largest number of tokens to look at.
        """
        rows = await self._database.fetch(queries.token_digests, limit=limit)
        digests = frozenset(digest_prefix(sha256) for _, sha256 in rows if sha256)
        return int(rows[0][0]), digests

    async def is_empty(self) -> bool:
        """Say whether there is no user at all."""
        return not await self._database.fetch(queries.any_user)

    async def user(self, name: str, month: str) -> User:
        """Return one user.

        :param month: whose traffic to return, as ``YYYY-MM-01``.
        :raises AccountNotFound: if there is none of this name.
        """
        rows = await self._database.fetch(queries.user_named, name=name, month=month)
        return _the_user(name, rows)

    async def users(self, month: str) -> AsyncGenerator[list[User], None]:
        """Return all users by name, page by page."""
        after = ""
        while rows := await self._database.fetch(
            queries.user_page, after=after, limit=USERS, month=month
        ):
            page = [_user(row) for row in rows]
            after = page[-1].name
            yield page

    async def tokens(self, user_id: int) -> list[Token]:
        """Return a user's tokens, the revoked and expired ones included."""
        rows = await self._database.fetch(queries.tokens_of, user_id=user_id)
        return [_token(*row) for row in rows]

    async def add_user(
        self, name: str, storage_quota: int, traffic_quota: int, token: NewToken
    ) -> int:
        """Make a user with one token; return the user's ID, which nobody has had.

        :raises NameTaken: if there is a user of this name.
        """

        async def work(transaction: ITransaction) -> int:
            return await _add_user(
                transaction, name, storage_quota, traffic_quota, token
            )

        return await self._change(work)

    async def add_first_user(
        self, name: str, storage_quota: int, traffic_quota: int, token: NewToken
    ) -> bool:
        """Make a user, unless there is one; return whether it was made."""

        async def work(transaction: ITransaction) -> bool:
            if await transaction.fetch(queries.any_user):
                return False
            await _add_user(transaction, name, storage_quota, traffic_quota, token)
            return True

        return await self.is_empty() and await self._change(work)

    async def set_user(
        self,
        name: str,
        *,
        storage_quota: int | None = None,
        traffic_quota: int | None = None,
        new_name: str | None = None,
        active: bool | None = None,
    ) -> User:
        """Change what is given of a user; return what the user is then.

        :raises AccountNotFound: if there is none of this name.
        :raises NameTaken: if another one has the new name.
        """

        async def work(transaction: ITransaction) -> User:
            user = await _lock_user(transaction, name)
            if new_name is not None and new_name != name:
                if await transaction.fetch(
                    queries.user_named, name=new_name, month=_NO_MONTH
                ):
                    raise NameTaken(f"there is a user {new_name} already")
                user = evolve(user, name=new_name)
            if storage_quota is not None:
                user = evolve(user, storage_quota=storage_quota)
            if traffic_quota is not None:
                user = evolve(user, traffic_quota=traffic_quota)
            if active is not None:
                user = evolve(user, active=active)
            await transaction.execute(
                queries.set_user,
                user_id=user.user_id,
                name=user.name,
                storage_quota=user.storage_quota,
                traffic_quota=user.traffic_quota,
                active=int(user.active),
            )
            return user

        return await self._change(work)

    async def add_token(self, name: str, token: NewToken) -> int:
        """Give a user another token; return its number.

        :raises AccountNotFound: if there is no user of this name.
        """

        async def work(transaction: ITransaction) -> int:
            user = await _lock_user(transaction, name)
            await _add_token(transaction, user.user_id, token)
            rows = await transaction.fetch(queries.tokens_of, user_id=user.user_id)
            return int(rows[-1][0])

        return await self._change(work)

    async def revoke_token(self, name: str, token_id: int) -> None:
        """Let a token be none any more. May be repeated.

        :raises AccountNotFound: if there is no such user or token.
        """

        async def work(transaction: ITransaction) -> None:
            user = await _lock_user(transaction, name)
            if not await transaction.execute(
                queries.revoke_token, user_id=user.user_id, id=token_id
            ):
                raise AccountNotFound(f"{name} has no token {token_id}")

        await self._change(work)

    async def begin_erasure(self, name: str) -> User:
        """Take all access away from a user, whose name stays until the end of it. May
        be repeated.

        :raises AccountNotFound: if there is no user of this name.
        """

        async def work(transaction: ITransaction) -> User:
            rows = await transaction.fetch(
                queries.user_named, name=name, month=_NO_MONTH
            )
            user = _the_user(name, rows)
            await transaction.execute(queries.begin_erasure, user_id=user.user_id)
            return user

        return await self._change(work)

    async def prefix_of(self, user_id: int) -> str | None:
        """Return a prefix of a user, if there is any left; also a repository's."""
        rows = await self._database.fetch(queries.prefix_of, user_id=user_id)
        return rows[0][0] if rows else None

    async def garbage_of(self, user_id: int) -> list[str]:
        """Return the keys of some blobs that were a user's objects, if any are left."""
        rows = await self._database.fetch(
            queries.garbage_of, user_id=user_id, limit=BLOBS
        )
        return [key for (key,) in rows]

    async def end_erasure(self, user_id: int) -> None:
        """Forget all about a user who has no prefix any more, but the ID."""

        async def work(transaction: ITransaction) -> None:
            await transaction.execute(queries.end_erasure, user_id=user_id)

        await self._change(work)

    async def _change(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        async def change(transaction: ITransaction) -> T:
            await transaction.execute(queries.count_change)
            return await work(transaction)

        return await self._database.transact(change)

    async def _ask_tokens(self, digests: Sequence[str]) -> list[AccountLookup]:
        asked = [{"n": n, "sha256": digest} for n, digest in enumerate(digests)]
        rows = await self._database.fetch(queries.find_tokens, asked=json.dumps(asked))
        return _lookups(len(digests), rows)

    async def _ask_users(self, user_ids: Sequence[int]) -> list[AccountLookup]:
        asked = [{"n": n, "user_id": user_id} for n, user_id in enumerate(user_ids)]
        rows = await self._database.fetch(queries.find_users, asked=json.dumps(asked))
        return _lookups(len(user_ids), rows)


_NO_MONTH = "1970-01-01"
"""A month without traffic."""


async def _lock_user(transaction: ITransaction, name: str) -> User:
    """Return a user whom nobody else changes until the transaction ends."""
    rows = await transaction.fetch(queries.user_named, name=name, month=_NO_MONTH)
    user = _the_user(name, rows)
    if user.erasing:
        raise AccountNotFound(f"{name} is being deleted")
    return user


async def _add_user(
    transaction: ITransaction,
    name: str,
    storage_quota: int,
    traffic_quota: int,
    token: NewToken,
) -> int:
    ((user_id,),) = await transaction.fetch(queries.next_id)
    if not await transaction.execute(
        queries.add_user,
        user_id=user_id,
        name=name,
        storage_quota=storage_quota,
        traffic_quota=traffic_quota,
    ):
        raise NameTaken(f"there is a user {name} already")
    await _add_token(transaction, user_id, token)
    return int(user_id)


async def _add_token(transaction: ITransaction, user_id: int, token: NewToken) -> None:
    if not await transaction.execute(
        queries.add_token,
        user_id=user_id,
        sha256=token.sha256,
        permission=token.permission.value,
        label=token.label,
        expires=token.expires,
    ):
        raise NameTaken("somebody has this token already")


def _lookups(count: int, rows: Iterable[Row]) -> list[AccountLookup]:
    found: list[AccountLookup | None] = [None] * count
    version = 0
    for version, n, user_id, active, storage, traffic, *token in rows:
        if n is None:
            continue
        permission, expires = token or (Permission.FULL.value, None)
        account = Account(
            user_id,
            bool(active),
            storage,
            traffic,
            permission=Permission(permission),
        )
        found[n] = AccountLookup(version, account, expires)
    return [one or AccountLookup(version) for one in found]


def _the_user(name: str, rows: Sequence[Row]) -> User:
    if not rows:
        raise AccountNotFound(f"there is no user {name}")
    return _user(rows[0])


def _user(row: Row) -> User:
    user_id, active, storage, traffic, name, created, erasing, stored, loaded = row
    return User(
        user_id,
        bool(active),
        storage,
        traffic,
        name,
        _iso_8601(created),
        bool(erasing),
        stored,
        loaded,
    )


def _token(
    token_id: int,
    permission: str,
    label: str,
    created: datetime | str,
    expires: int | None,
    revoked: bool,
) -> Token:
    kind = Permission(permission)
    return Token(token_id, kind, label, _iso_8601(created), expires, bool(revoked))


def _iso_8601(moment: datetime | str) -> str:
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
