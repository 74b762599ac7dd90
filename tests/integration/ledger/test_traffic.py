"""Traffic, by owner and month."""

from __future__ import annotations

import pytest_twisted

from qabel_block.ledger.ledger import Ledger
from qabel_block.model import TrafficCount
from tests.integration.ledger.support import (
    OTHER,
    OWNER,
    P,
    Q,
    at_once,
    change,
    name,
    upload,
)

JANUARY, FEBRUARY = "2027-01-01", "2027-02-01"


@pytest_twisted.async_fixture
async def ledger(ledger: Ledger) -> Ledger:
    """A ledger with an object of each of two users."""
    for user, prefix in ((OWNER, P), (OTHER, Q)):
        await ledger.create_prefix(user, prefix)
        await upload(ledger, name("a", prefix))
    return ledger


async def traffic(ledger: Ledger, month: str, prefix: str = P) -> int:
    found = await ledger.find(name("a", prefix), month)
    assert found is not None
    return found.traffic


@pytest_twisted.ensureDeferred
async def test_adds_up(ledger: Ledger) -> None:
    """Traffic counts against its owner and its month, and adds up."""
    assert await traffic(ledger, JANUARY) == 0
    await ledger.add_traffic([TrafficCount(OWNER, JANUARY, 10)])
    await ledger.add_traffic(
        [
            TrafficCount(OTHER, JANUARY, 1),
            TrafficCount(OWNER, FEBRUARY, 2),
            TrafficCount(OWNER, JANUARY, 2**40),
        ]
    )
    assert await traffic(ledger, JANUARY) == 2**40 + 10
    assert await traffic(ledger, FEBRUARY) == 2
    assert await traffic(ledger, JANUARY, Q) == 1
    assert await traffic(ledger, FEBRUARY, Q) == 0


@pytest_twisted.ensureDeferred
async def test_same_owner_twice(ledger: Ledger) -> None:
    """A batch may name an owner and month more than once."""
    await ledger.add_traffic([TrafficCount(OWNER, JANUARY, n) for n in (1, 2, 4)])
    assert await traffic(ledger, JANUARY) == 7


@pytest_twisted.ensureDeferred
async def test_nothing_to_add(ledger: Ledger) -> None:
    """An empty batch is fine."""
    await ledger.add_traffic([])
    assert await traffic(ledger, JANUARY) == 0


@pytest_twisted.ensureDeferred
async def test_many_owners(ledger: Ledger) -> None:
    """A batch may be large."""
    await ledger.add_traffic([TrafficCount(n, JANUARY, n) for n in range(3000)])
    assert await traffic(ledger, JANUARY) == OWNER


@pytest_twisted.ensureDeferred
async def test_batches_at_once(ledger: Ledger, other_ledger: Ledger) -> None:
    """Batches of two nodes at once, with the same owners in different order, are
    all counted."""
    counts = [
        TrafficCount(user, month, 1)
        for user in (OWNER, OTHER, *range(100, 150))
        for month in (JANUARY, FEBRUARY)
    ]
    results = await at_once(
        node.add_traffic(batch)
        for node, batch in ((ledger, counts), (other_ledger, counts[::-1]))
        for _ in range(20)
    )
    assert results == [None] * 40
    for prefix in (P, Q):
        for month in (JANUARY, FEBRUARY):
            assert await traffic(ledger, month, prefix) == 40


@pytest_twisted.ensureDeferred
async def test_legacy_traffic(ledger: Ledger, dsn: str) -> None:
    """What the legacy server counted goes on counting; where it left no number it
    is 0."""
    change(
        dsn,
        f"INSERT INTO traffic VALUES ({OWNER}, '{JANUARY}', 5)",
        f"INSERT INTO traffic VALUES ({OTHER}, '{JANUARY}', NULL)",
    )
    assert await traffic(ledger, JANUARY) == 5
    assert await traffic(ledger, JANUARY, Q) == 0
    await ledger.add_traffic([TrafficCount(n, JANUARY, 1) for n in (OWNER, OTHER)])
    assert await traffic(ledger, JANUARY) == 6
    assert await traffic(ledger, JANUARY, Q) == 1
