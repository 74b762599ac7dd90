"""Built-in accounts in the ledger, and the authenticator on them."""

from __future__ import annotations

from time import time

import pytest
import pytest_twisted

from qabel_block.accounts.builtin import FRESH_SECONDS, BuiltinAuthenticator
from qabel_block.accounts.tokens import new_token, token_digest
from qabel_block.errors import AccountNotFound, NameTaken, NotOwner, UnknownUser
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, NewToken, Permission, TrafficCount
from tests.integration.ledger.support import P, change, name, upload
from tests.support.database import query

MONTH = "2027-01-01"


class _Clock:
    """What nodes take for the seconds that have gone by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def elapsed() -> _Clock:
    return _Clock()


@pytest.fixture
def table(database: IDatabase, elapsed: _Clock) -> AccountTable:
    return AccountTable(database, elapsed)


@pytest.fixture
def node(other_database: IDatabase, elapsed: _Clock) -> BuiltinAuthenticator:
    """A node beside the commands."""
    return BuiltinAuthenticator(AccountTable(other_database, elapsed), elapsed, time)


async def _add(
    table: AccountTable, name: str = "alice", expires: int | None = None
) -> tuple[int, str]:
    secret = new_token()
    new = NewToken(token_digest(secret), expires=expires)
    return await table.add_user(name, 100, 200, new), f"Token {secret}"


async def _is_known(node: BuiltinAuthenticator, authorization: str) -> bool:
    try:
        await node.authenticate(authorization, "r")
    except UnknownUser:
        return False
    return True


@pytest_twisted.ensureDeferred
async def test_users(table: AccountTable) -> None:
    """Users have names of their own, numbers of their own, and quotas."""
    alice, _ = await _add(table)
    bob, _ = await _add(table, "bob")
    assert alice != bob
    with pytest.raises(NameTaken):
        await _add(table, "bob")
    with pytest.raises(NameTaken):
        await table.set_user("alice", new_name="bob")
    await table.set_user("alice", new_name="carol", storage_quota=5, active=False)
    pages = [page async for page in table.users(MONTH)]
    assert [(u.name, u.user_id, u.active, u.storage_quota) for u in pages[0]] == [
        ("bob", bob, True, 100),
        ("carol", alice, False, 5),
    ]
    with pytest.raises(AccountNotFound):
        await table.user("alice", MONTH)


@pytest_twisted.ensureDeferred
async def test_ids_of_others(table: AccountTable, ledger: Ledger, dsn: str) -> None:
    """Nobody gets the ID of a user whom the ledger knows from an accounting server."""
    await ledger.create_prefix(70, P)
    change(dsn, "INSERT INTO traffic VALUES (90, '2020-01-01', 1)")
    assert (await _add(table))[0] == 91


@pytest_twisted.ensureDeferred
async def test_nothing_of_a_token(table: AccountTable, dsn: str) -> None:
    """Of a token there is only the digest."""
    _, authorization = await _add(table)
    rows = query(dsn, "SELECT sha256, label, permission FROM tokens")
    token = authorization.removeprefix("Token ")
    assert rows == [(token_digest(token), "", "full")]


@pytest_twisted.ensureDeferred
async def test_changes_are_heeded(
    table: AccountTable, node: BuiltinAuthenticator, elapsed: _Clock
) -> None:
    """What was remembered is good until something changes, and a change is heeded
    after a moment."""
    user_id, first = await _add(table)
    assert await node.authenticate(first, "r") == Account(user_id, True, 100, 200)
    assert (await node.account(user_id, "r")).traffic_quota == 200
    await table.set_user("alice", active=False, traffic_quota=7)
    elapsed.seconds += FRESH_SECONDS
    assert not (await node.authenticate(first, "r")).active
    assert (await node.account(user_id, "r")).traffic_quota == 7
    await table.revoke_token("alice", 1)
    elapsed.seconds += FRESH_SECONDS
    assert not await _is_known(node, first)


@pytest_twisted.ensureDeferred
async def test_new_tokens(
    table: AccountTable, node: BuiltinAuthenticator, elapsed: _Clock
) -> None:
    """A token that was tried before it was made is known a moment later."""
    await _add(table)
    token = new_token()
    assert not await _is_known(node, f"Token {token}")
    new = NewToken(token_digest(token), Permission.APPEND_ONLY, "laptop")
    assert await table.add_token("alice", new) == 2
    elapsed.seconds += FRESH_SECONDS
    account = await node.authenticate(f"Token {token}", "r")
    assert account.permission is Permission.APPEND_ONLY


@pytest_twisted.ensureDeferred
async def test_expiry(
    table: AccountTable, other_database: IDatabase, elapsed: _Clock
) -> None:
    """A token is nobody's from the moment on at which it expires."""
    now = _Clock()
    node = BuiltinAuthenticator(AccountTable(other_database, elapsed), elapsed, now)
    now.seconds = 999
    _, authorization = await _add(table, expires=1000)
    assert await _is_known(node, authorization)
    now.seconds = 1000
    assert not await _is_known(node, authorization)


@pytest_twisted.ensureDeferred
async def test_asks_seldom(
    table: AccountTable, node: BuiltinAuthenticator, database: IDatabase, dsn: str
) -> None:
    """What is remembered is not looked up again."""
    user_id, authorization = await _add(table)
    await node.authenticate(authorization, "r")
    await node.account(user_id, "r")
    # Behind the back of whoever counts the changes.
    change(dsn, "UPDATE accounts SET storage_quota = 1")
    for _ in range(3):
        assert (await node.authenticate(authorization, "r")).storage_quota == 100
        assert (await node.account(user_id, "r")).storage_quota == 100


@pytest_twisted.ensureDeferred
async def test_recall(
    table: AccountTable, node: BuiltinAuthenticator, elapsed: _Clock
) -> None:
    """A token is recalled that was never looked up, but none that is revoked."""
    _, first = await _add(table)
    _, second = await _add(table, "bob")
    assert await node.recall(f"Token {new_token()}", "r") is None
    assert await node.recall(first, "r") is not None
    await table.revoke_token("alice", 1)
    elapsed.seconds += FRESH_SECONDS
    assert await node.recall(first, "r") is None
    assert await node.recall(second, "r") is not None


@pytest_twisted.ensureDeferred
async def test_first_user(table: AccountTable) -> None:
    """The first user is made only if there is none."""
    token = NewToken(token_digest(new_token()))
    assert await table.add_first_user("alice", 1, 2, token)
    assert not await table.add_first_user("bob", 1, 2, token)
    assert [[u.name for u in p] async for p in table.users(MONTH)] == [["alice"]]


@pytest_twisted.ensureDeferred
async def test_erasure(
    table: AccountTable,
    ledger: Ledger,
    node: BuiltinAuthenticator,
    elapsed: _Clock,
    dsn: str,
) -> None:
    """Whose erasure has begun gets nothing new, and whose has ended has left nothing
    but a number that nobody gets again."""
    user_id, authorization = await _add(table)
    await node.authenticate(authorization, "r")
    await table.begin_erasure("alice")
    await table.begin_erasure("alice")
    elapsed.seconds += FRESH_SECONDS
    assert not await _is_known(node, authorization)
    with pytest.raises(UnknownUser):
        await node.account(user_id, "r")
    with pytest.raises(NotOwner):
        await ledger.create_prefix(user_id, P)
    await ledger.add_traffic([TrafficCount(user_id, MONTH, 5)])
    with pytest.raises(AccountNotFound):
        await table.add_token("alice", NewToken("x"))
    await table.end_erasure(user_id)
    assert query(dsn, "SELECT * FROM tokens") == []
    assert query(dsn, "SELECT * FROM traffic") == []
    assert query(dsn, "SELECT user_id, name FROM accounts") == [(user_id, None)]
    assert (await _add(table))[0] == user_id + 1


@pytest_twisted.ensureDeferred
async def test_no_changes_while_erased(table: AccountTable, ledger: Ledger) -> None:
    """Whose erasure has begun changes nothing any more, also with a token that a node
    still remembers."""
    user_id, _ = await _add(table)
    await ledger.create_prefix(user_id, P)
    await upload(ledger, name("a"))
    await table.begin_erasure("alice")
    with pytest.raises(NotOwner):
        await upload(ledger, name("b"))
    with pytest.raises(NotOwner):
        await ledger.delete(name("a"), lambda state: None)
    assert await ledger.storage_used(user_id) == 10


@pytest_twisted.ensureDeferred
async def test_other_users_go_on(table: AccountTable, ledger: Ledger) -> None:
    """That somebody is erased is nothing to others."""
    user_id, _ = await _add(table)
    await _add(table, "bob")
    await table.begin_erasure("bob")
    await ledger.create_prefix(user_id, P)
    await upload(ledger, name("a"))
    await ledger.add_traffic([TrafficCount(user_id, MONTH, 5)])
    user = await table.user("alice", MONTH)
    assert (user.stored, user.downloaded) == (10, 5)
