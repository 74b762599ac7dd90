"""What the ledger says of single users, for their metrics."""

from __future__ import annotations

from time import time

import pytest_twisted
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from qabel_block.accounts.builtin import BuiltinAuthenticator
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.user_usage import UserUsageTable
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.users import UserSampler
from qabel_block.model import UNLIMITED, NewToken
from tests.integration.ledger.support import P, name, upload


@pytest_twisted.ensureDeferred
async def test_gauges(database: IDatabase, ledger: Ledger) -> None:
    """Each user has a size, a quota, and a time of the last upload if there was one;
    who is deleted has none any more."""
    accounts = AccountTable(database, time)
    alice = await accounts.add_user("alice", 100, 200, NewToken("1"))
    bob = await accounts.add_user("bob", UNLIMITED, 200, NewToken("2"))
    await ledger.create_prefix(alice, P)
    await upload(ledger, name("a"))
    registry = CollectorRegistry()
    sampler = UserSampler(
        Metrics(registry),
        UserUsageTable(database),
        BuiltinAuthenticator(accounts, time, time),
        Clock(),
    )

    def value(what: str, user: str) -> float | None:
        return registry.get_sample_value(f"qabel_block_user_{what}", {"user": user})

    await sampler.sample()
    assert value("size_bytes", "alice") == 10
    assert value("quota_bytes", "alice") == 100
    assert (value("last_upload_timestamp_seconds", "alice") or 0) > 1_000_000_000
    assert value("size_bytes", "bob") == 0
    assert value("quota_bytes", "bob") == float("inf")
    assert value("last_upload_timestamp_seconds", "bob") is None
    await accounts.begin_erasure("bob")
    await accounts.end_erasure(bob)
    await sampler.sample()
    assert value("size_bytes", "bob") is None
    assert value("size_bytes", "alice") == 10
