"""Built-in accounts beside a plain model of PROTOCOL section 10."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

from qabel_block.accounts.builtin import FRESH_SECONDS, BuiltinAuthenticator
from qabel_block.accounts.tokens import new_token, token_digest
from qabel_block.errors import (
    AccountNotFound,
    NameTaken,
    NotOwner,
    NotPermitted,
    UnknownUser,
)
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.sqlite import SqliteDatabase
from qabel_block.model import Account, NewToken, ObjectName, Permission
from qabel_block.operations.upload import Upload
from qabel_block.rules.conditions import UNCONDITIONAL
from qabel_block.rules.permissions import check_create
from tests.integration.ledger.support import MovableTime, noted
from tests.support.blocking import now
from tests.support.database import query
from tests.support.state_machines import run_state_machine, sqlite_ledger

MONTH = "2027-01-01"
NAMES = ("alice", "bob")
QUOTAS = (0, 100, 2**40)
PATHS = ("a", "b", "c")
LONG_AGO = 1000
"""When examples begin, in seconds since 1970."""

names = st.sampled_from(NAMES)
quotas = st.sampled_from(QUOTAS)
permissions = st.sampled_from(Permission)
lifetimes = st.none() | st.integers(-10, 50)


@define
class _Token:
    """A token as it should be.

    :ivar expires: seconds since 1970.
    """

    secret: str
    permission: Permission
    expires: int | None
    revoked: bool = False

    @property
    def authorization(self) -> str:
        return f"Token {self.secret}"


@define
class _User:
    """A user as one should be, and remains in ``past`` when deleted."""

    user_id: int
    quota: int
    active: bool = True
    erasing: bool = False
    tokens: list[_Token] = field(factory=list)
    prefix: str = ""
    objects: set[str] = field(factory=set)


class Accounts(RuleBasedStateMachine):
    """Users and tokens on a real ledger, and a node that serves them."""

    def __init__(self, dsn: str, database: SqliteDatabase) -> None:
        super().__init__()
        self.dsn = dsn
        self.elapsed, self.time = 0.0, float(LONG_AGO)
        self.ledger = Ledger(database, MovableTime())
        self.table = AccountTable(database, lambda: self.elapsed)
        self.node = BuiltinAuthenticator(
            self.table, lambda: self.elapsed, lambda: self.time
        )
        self.users: dict[str, _User] = {}
        self.past: list[_User] = []
        # Examples share a database; nobody has had these users before.
        self.suffix = f"-{query(dsn, 'SELECT count(*) FROM accounts')[0][0]}"

    def new(self, lifetime: int | None, permission: Permission) -> _Token:
        expires = None if lifetime is None else int(self.time) + lifetime
        return _Token(new_token(), permission, expires)

    def all_users(self) -> Iterator[tuple[str | None, _User]]:
        yield from self.users.items()
        for user in self.past:
            yield None, user

    @rule(name=names, quota=quotas, permission=permissions, lifetime=lifetimes)
    def add(
        self, name: str, quota: int, permission: Permission, lifetime: int | None
    ) -> None:
        """Names are one user's at a time, user IDs one user's for ever."""
        token = self.new(lifetime, permission)
        adding = self.table.add_user(name + self.suffix, quota, 200, _row(token))
        if name in self.users:
            with pytest.raises(NameTaken):
                now(adding)
            return
        user = _User(now(adding), quota, tokens=[token])
        assert user.user_id not in {other.user_id for _, other in self.all_users()}
        user.prefix = f"prefix-{user.user_id}"
        now(self.ledger.create_prefix(user.user_id, user.prefix))
        self.users[name] = user

    @rule(name=names, quota=st.none() | quotas, active=st.none() | st.booleans())
    def change(self, name: str, quota: int | None, active: bool | None) -> None:
        """Change a quota, disable, enable."""
        changing = self.table.set_user(
            name + self.suffix, storage_quota=quota, active=active
        )
        user = self.found(name)
        if user is None:
            with pytest.raises(AccountNotFound):
                now(changing)
            return
        now(changing)
        user.quota = user.quota if quota is None else quota
        user.active = user.active if active is None else active

    @rule(name=names, other=names)
    def rename(self, name: str, other: str) -> None:
        """A name that is free is given, one that is another's is not."""
        renaming = self.table.set_user(name + self.suffix, new_name=other + self.suffix)
        user = self.found(name)
        if user is None:
            with pytest.raises(AccountNotFound):
                now(renaming)
        elif other != name and other in self.users:
            with pytest.raises(NameTaken):
                now(renaming)
        else:
            now(renaming)
            self.users[other] = self.users.pop(name)

    @rule(name=names, permission=permissions, lifetime=lifetimes)
    def add_token(
        self, name: str, permission: Permission, lifetime: int | None
    ) -> None:
        """A user's tokens have numbers in the order in which they were made."""
        token = self.new(lifetime, permission)
        adding = self.table.add_token(name + self.suffix, _row(token))
        user = self.found(name)
        if user is None:
            with pytest.raises(AccountNotFound):
                now(adding)
            return
        user.tokens.append(token)
        assert now(adding) == len(user.tokens)

    @rule(name=names, number=st.integers(1, 4))
    def revoke(self, name: str, number: int) -> None:
        """Tokens that there are can be revoked, also twice."""
        revoking = self.table.revoke_token(name + self.suffix, number)
        user = self.found(name)
        if user is None or number > len(user.tokens):
            with pytest.raises(AccountNotFound):
                now(revoking)
            return
        now(revoking)
        user.tokens[number - 1].revoked = True

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        """Let tokens expire."""
        self.time += seconds

    @rule(data=st.data(), name=names, path=st.sampled_from(PATHS))
    def upload(self, data: st.DataObject, name: str, path: str) -> None:
        """What a token may store depends on its kind and on what is there."""
        self.elapsed += FRESH_SECONDS
        user = self.found(name)
        tokens = user.tokens if user else []
        for token in data.draw(st.permutations(tokens + tokens)):
            if user is None or not self.is_usable(token):
                continue
            account = now(self.node.authenticate(token.authorization, "r"))
            storing = self.store(account, ObjectName(user.prefix, path))
            if token.permission is Permission.FULL or (
                token.permission is Permission.APPEND_ONLY and path not in user.objects
            ):
                now(storing)
                user.objects.add(path)
            else:
                with pytest.raises(NotPermitted):
                    now(storing)

    @rule(name=names)
    def begin_deletion(self, name: str) -> None:
        """Whose deletion begins has no token, and keeps the name until its end."""
        beginning = self.table.begin_erasure(name + self.suffix)
        if name not in self.users:
            with pytest.raises(AccountNotFound):
                now(beginning)
            return
        now(beginning)
        user = self.users[name]
        user.erasing = True
        with pytest.raises(NotOwner):
            now(self.ledger.create_prefix(user.user_id, f"{user.prefix}-more"))

    @rule(name=names)
    def end_deletion(self, name: str) -> None:
        """The name is free, and the ID is nobody's."""
        user = self.users.get(name)
        if user is None or not user.erasing:
            return
        now(self.table.end_erasure(user.user_id))
        self.past.append(self.users.pop(name))

    @invariant()
    def access_is_as_in_the_model(self) -> None:
        """Once it is a moment later, the node knows just what there is."""
        self.elapsed += FRESH_SECONDS
        for name, user in self.all_users():
            known = name is not None and not user.erasing
            granted = Account(user.user_id, user.active, user.quota, 200)
            assert now(self.granted_to(user.user_id)) == (granted if known else None)
            for token in user.tokens:
                usable = known and self.is_usable(token)
                found, recalled = now(self.looked_up(token))
                assert (found is not None) == usable
                assert recalled == found
                if found is not None:
                    assert found.permission is token.permission
                    assert found.active == user.active
                    assert found.storage_quota == user.quota

    @invariant()
    def lists_are_as_in_the_model(self) -> None:
        """The operator sees all users and tokens."""
        listed = {
            user.name: (user.user_id, user.active, user.storage_quota, user.erasing)
            for user in now(self.listed())
            if user.name.endswith(self.suffix)
        }
        assert listed == {
            name + self.suffix: (user.user_id, user.active, user.quota, user.erasing)
            for name, user in self.users.items()
        }
        for user in self.users.values():
            seen = now(self.table.tokens(user.user_id))
            left = [] if user.erasing else user.tokens
            assert [(t.id, t.permission, t.expires, t.revoked) for t in seen] == [
                (number, t.permission, t.expires, t.revoked)
                for number, t in enumerate(left, 1)
            ]

    def found(self, name: str) -> _User | None:
        """Return a user who can be changed."""
        user = self.users.get(name)
        return None if user is None or user.erasing else user

    def is_usable(self, token: _Token) -> bool:
        expired = token.expires is not None and token.expires <= self.time
        return not token.revoked and not expired

    async def store(self, account: Account, name: ObjectName) -> None:
        """Store nothing under a name, as far as the token allows it."""
        check_create(account.permission)
        upload = Upload(account, name, UNCONDITIONAL, 0, frozenset())
        blob = await noted(self.ledger, name, 0)
        await self.ledger.commit_upload(
            name, blob, lambda state: upload.decide(state, 0), None
        )

    async def granted_to(self, user_id: int) -> Account | None:
        try:
            return await self.node.account(user_id, "r")
        except UnknownUser:
            return None

    async def looked_up(self, token: _Token) -> tuple[Account | None, Account | None]:
        """Return the account of a token as it is looked up and as it is recalled."""
        recalled = await self.node.recall(token.authorization, "r")
        try:
            return await self.node.authenticate(token.authorization, "r"), recalled
        except UnknownUser:
            return None, recalled

    async def listed(self) -> list[Any]:
        return [user async for page in self.table.users(MONTH) for user in page]


def _row(token: _Token) -> NewToken:
    return NewToken(token_digest(token.secret), token.permission, "", token.expires)


@pytest_twisted.ensureDeferred
async def test_model(tmp_path: Path) -> None:
    """Whatever operators do, and whenever tokens expire: who has access, with what
    permission and quota, and what lists show, is what the model says."""
    async with sqlite_ledger(tmp_path) as ledger:
        machine = partial(Accounts, ledger.dsn, ledger.database)
        await run_state_machine(machine, steps=20)
