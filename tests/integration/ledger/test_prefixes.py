"""Prefixes: whose they are, and in which order."""

from __future__ import annotations

import pytest
import pytest_twisted

from qabel_block.errors import NotOwner
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import WriteState
from tests.integration.ledger.support import OTHER, OWNER, P, at_once, change, name


@pytest_twisted.ensureDeferred
async def test_oldest_first(ledger: Ledger, other_ledger: Ledger) -> None:
    """A user's prefixes are listed oldest first, whatever node made them."""
    names = ["c", "a", "d", "b"]
    for number, prefix in enumerate(names):
        await (ledger, other_ledger)[number % 2].create_prefix(OWNER, prefix)
    await ledger.create_prefix(OTHER, "e")
    assert await ledger.prefixes(OWNER) == names
    assert await ledger.prefixes(OTHER) == ["e"]


@pytest_twisted.ensureDeferred
async def test_legacy_prefixes_are_older(ledger: Ledger, dsn: str) -> None:
    """A row that the legacy server would have written is older than all of ours."""
    await ledger.create_prefix(OWNER, "new")
    change(dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('old', {OWNER})")
    assert await ledger.prefixes(OWNER) == ["old", "new"]


@pytest_twisted.ensureDeferred
async def test_unknown_user(ledger: Ledger) -> None:
    """Somebody who was never here has no prefixes and stores nothing."""
    assert await ledger.prefixes(OWNER) == []
    assert await ledger.storage_used(OWNER) == 0


@pytest_twisted.ensureDeferred
async def test_one_owner_for_ever(ledger: Ledger, other_ledger: Ledger) -> None:
    """Of many who are given the same prefix at once one gets it, and keeps it."""
    ledgers = (ledger, other_ledger)
    outcomes = await at_once(
        ledgers[user_id % 2].create_prefix(user_id, P) for user_id in range(10)
    )
    assert [type(outcome) for outcome in outcomes].count(NotOwner) == 9
    owner = outcomes.index(None)
    with pytest.raises(NotOwner):
        await ledger.create_prefix(99, P)
    assert await ledger.write_state(name("a")) == WriteState(owner, 0, None)
    assert await ledger.prefixes(owner) == [P]


@pytest_twisted.ensureDeferred
async def test_target_without_prefix(ledger: Ledger) -> None:
    """Below a prefix that doesn't exist there is nothing to change or find."""
    assert await ledger.write_state(name("a")) is None
    assert await ledger.find(name("a"), "2027-01-01") is None
