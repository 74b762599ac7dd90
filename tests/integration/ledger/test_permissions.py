"""An append-only token replaces nothing, whoever is faster."""

from __future__ import annotations

import pytest_twisted

from qabel_block.errors import NotPermitted
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, Change, Permission, WriteState
from qabel_block.operations.upload import Upload
from qabel_block.rules.conditions import UNCONDITIONAL
from tests.integration.ledger.support import OWNER, P, at_once, name, noted, upload
from tests.support.database import query

ACCOUNT = Account(OWNER, True, 10**6, 10**6, permission=Permission.APPEND_ONLY)


async def _store(ledger: Ledger, path: str, size: int) -> Change:
    blob = await noted(ledger, name(path), size)
    request = Upload(ACCOUNT, name(path), UNCONDITIONAL, size, frozenset())

    def decide(state: WriteState) -> None:
        request.decide(state, size)

    return await ledger.commit_upload(name(path), blob, decide, None)


@pytest_twisted.ensureDeferred
async def test_one_creates(ledger: Ledger, other_ledger: Ledger, dsn: str) -> None:
    """Of many uploads to one new name, on two nodes, one is made."""
    await ledger.create_prefix(OWNER, P)
    for round_ in range(15):
        outcomes = await at_once(
            _store((ledger, other_ledger)[n % 2], f"new-{round_}", n + 1)
            for n in range(12)
        )
        made = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Change)]
        assert len(made) == 1
        refused = [outcome for n, outcome in enumerate(outcomes) if n not in made]
        assert all(isinstance(outcome, NotPermitted) for outcome in refused)
        sizes = query(dsn, f"SELECT size FROM objects WHERE path = 'new-{round_}'")
        assert sizes == [(made[0] + 1,)]


@pytest_twisted.ensureDeferred
async def test_replaces_nothing(ledger: Ledger) -> None:
    """An upload that would replace an object changes nothing."""
    await ledger.create_prefix(OWNER, P)
    before = await upload(ledger, name("a"))
    (outcome,) = await at_once([_store(ledger, "a", 1)])
    assert isinstance(outcome, NotPermitted)
    state = await ledger.write_state(name("a"))
    assert state is not None
    assert state.etag == before.etag
