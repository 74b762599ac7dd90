"""What every IAuthenticator does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic, time

import pytest
import pytest_twisted
from attrs import frozen
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from zope.interface.verify import verifyObject

from qabel_block.accounts.accounting_server import AccountingAuthenticator
from qabel_block.accounts.builtin import BuiltinAuthenticator
from qabel_block.accounts.cache import CachingAuthenticator
from qabel_block.accounts.dummy import (
    STORAGE_QUOTA,
    TRAFFIC_QUOTA,
    DummyAuthenticator,
)
from qabel_block.accounts.tokens import token_digest
from qabel_block.caches.memory import MemoryCache
from qabel_block.caches.redis import RedisCache
from qabel_block.errors import UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.sqlite import SqliteDatabase
from qabel_block.metrics.accounts import MeasuredAuthenticator
from qabel_block.metrics.definitions import Metrics
from qabel_block.model import Account, NewToken
from tests.support.accounting import AccountingDouble
from tests.support.valkey import installation, redis_at

IMPLEMENTATIONS = {
    "server": AccountingAuthenticator,
    "dummy": DummyAuthenticator,
    "builtin": BuiltinAuthenticator,
    "cached in process": CachingAuthenticator,
    "cached in redis": CachingAuthenticator,
    "measured": MeasuredAuthenticator,
}


@frozen
class Subject:
    """An authenticator, a token that it knows, and the token's account."""

    authenticator: IAuthenticator
    account: Account
    token: str = "known"


BUILTIN_TOKEN = "qb_0123456789abcdefghijkl"


async def _builtin(path: Path) -> tuple[SqliteDatabase, Subject]:
    """Return built-in accounts, and the ledger of their own in which they are."""
    upgrade(f"sqlite:///{path}")
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    table = AccountTable(database, monotonic)
    user_id = await table.add_user(
        "alice", 100, 200, NewToken(token_digest(BUILTIN_TOKEN))
    )
    authenticator = BuiltinAuthenticator(table, monotonic, time)
    account = Account(user_id, True, 100, 200)
    return database, Subject(authenticator, account, BUILTIN_TOKEN)


@pytest_twisted.async_yield_fixture(params=IMPLEMENTATIONS)
async def subject(
    request: pytest.FixtureRequest, accounting: AccountingDouble, tmp_path: Path
) -> AsyncIterator[Subject]:
    account = Account(7, True, 100, 200)
    cache: MemoryCache | RedisCache = MemoryCache(reactor)
    authenticator: IAuthenticator
    if request.param == "builtin":
        database, subject = await _builtin(tmp_path / "ledger.sqlite")
        yield subject
        await database.close()
        return
    if request.param == "dummy":
        authenticator = DummyAuthenticator("known")
        account = Account(0, True, STORAGE_QUOTA, TRAFFIC_QUOTA, any_prefix=True)
    else:
        authenticator = AccountingAuthenticator(
            reactor, accounting.url, accounting.secret
        )
        if request.param == "cached in redis":
            host, port = request.getfixturevalue("redis_address")
            cache = RedisCache(reactor, redis_at(port, host), installation)
        if request.param == "measured":
            metrics = Metrics(CollectorRegistry())
            authenticator = MeasuredAuthenticator(authenticator, metrics, monotonic)
        elif request.param != "server":
            authenticator = CachingAuthenticator(
                authenticator,
                cache,
                accounting.url,  # a key of this test's own
                reactor,
                time,
            )
    await cache.start()
    yield Subject(authenticator, account)
    await authenticator.close()
    await cache.close()


@pytest_twisted.ensureDeferred
async def test_interface(subject: Subject) -> None:
    """It has all methods."""
    assert verifyObject(IAuthenticator, subject.authenticator)


@pytest_twisted.ensureDeferred
async def test_known(subject: Subject) -> None:
    """A known token's account is returned, each time it is asked for."""
    for _ in range(3):
        account = await subject.authenticator.authenticate(
            f"Token {subject.token}", "r"
        )
        assert account == subject.account


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "header",
    [
        "Token unknown",
        "Token qb_unknown0123456789abcdef",
        f"Basic {BUILTIN_TOKEN}",
        BUILTIN_TOKEN,
        "Token Known",
        "Token ",
        "Token",
        "known",
        "Basic known",
        "Token known known",
        "",
        "Token kn\u00f6wn",
        "Token " + "x" * 10_000,
    ],
)
async def test_unknown(subject: Subject, header: str) -> None:
    """An unknown token and a malformed header are nobody's, also the second
    time."""
    for _ in range(2):
        with pytest.raises(UnknownUser):
            await subject.authenticator.authenticate(header, "r")


@pytest_twisted.ensureDeferred
async def test_recall(subject: Subject) -> None:
    """A token that was just known is recalled, where anything is remembered at all; an
    unknown one never."""
    header = f"Token {subject.token}"
    await subject.authenticator.authenticate(header, "r")
    recalled = await subject.authenticator.recall(header, "r")
    assert recalled in (subject.account, None)
    for unknown in ("Token unknown", "Token qb_unknown0123456789abcdef", ""):
        assert await subject.authenticator.recall(unknown, "r") is None


@pytest_twisted.ensureDeferred
async def test_by_user_id(subject: Subject) -> None:
    """An account is found by its user's ID as well."""
    user_id = subject.account.user_id
    for _ in range(2):
        assert await subject.authenticator.account(user_id, "r") == subject.account


@pytest_twisted.ensureDeferred
async def test_check(subject: Subject) -> None:
    """While users can be asked for, a check finds that out."""
    await subject.authenticator.check()
