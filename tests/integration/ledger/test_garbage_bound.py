"""What users have replaced does not fill the storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_twisted
from twisted.internet import reactor as global_reactor

from qabel_block.errors import StorageFull
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Account, ObjectName
from qabel_block.names import Versions
from qabel_block.operations import collector as collecting
from qabel_block.operations.collector import Collector
from qabel_block.operations.objects import Operations
from qabel_block.operations.upload import Upload, Uploads
from qabel_block.operations.usage import no_usage_log
from qabel_block.rules import quota
from qabel_block.rules.conditions import UNCONDITIONAL
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.keyed_lock import KeyedLock
from qabel_block.util.threads import ThreadPool
from tests.integration.ledger.support import OWNER, P, at_once, name
from tests.support.database import query

reactor: Any = global_reactor

BOUND = 100_000
SIZE = 20_000
ACCOUNT = Account(OWNER, True, storage_quota=50_000, traffic_quota=10**9)


class Body:
    """A body that is there at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        return content


class Node:
    """The operations on a ledger and a directory."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self.path = path
        self.threads = ThreadPool(reactor, 4, "transfers")
        self.storage = LocalStorage(path, self.threads)
        self.collector = Collector(ledger, self.storage, reactor)
        locks = KeyedLock(reactor)
        self.uploads = Uploads(
            ledger,
            self.storage,
            self.collector,
            Versions(reactor.seconds),
            locks,
            self.threads,
            10**9,
            lambda event: None,
            no_usage_log,
        )
        self.operations = Operations(
            ledger,
            locks,
            lambda event: None,
            no_usage_log,
            self.collector.schedule_collect_owner,
        )

    async def store(self, path: str) -> str:
        async def renew() -> Account:
            return ACCOUNT

        body: Any = Body(bytes(SIZE))
        upload = Upload(ACCOUNT, name(path), UNCONDITIONAL, SIZE, frozenset())
        return await self.uploads.store(upload, body, renew)

    async def delete(self, path: str) -> None:
        await self.operations.delete(ACCOUNT, ObjectName(P, path), UNCONDITIONAL)

    def stored(self) -> int:
        """Return the bytes of all blobs."""
        files = (self.path / P).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


@pytest_twisted.async_yield_fixture
async def node(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node, whose users may have little garbage."""
    monkeypatch.setattr(quota, "GARBAGE_LEAST", BOUND)
    await ledger.create_prefix(OWNER, P)
    node = Node(ledger, tmp_path / "objects")
    node.threads.start()
    await node.storage.bind(str(uuid4()))
    yield node
    await node.storage.close()
    node.threads.stop()


@pytest_twisted.ensureDeferred
async def test_overwriting(node: Node, ledger: Ledger) -> None:
    """Overwriting one object again and again takes no more room than the bound."""
    for _ in range(20):
        await node.store("a")
        assert node.stored() <= BOUND + SIZE
    outcomes = await at_once(node.store("a") for _ in range(12))
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert node.stored() <= BOUND + SIZE
    assert await ledger.storage_used(OWNER) == SIZE


@pytest_twisted.ensureDeferred
async def test_deleting(node: Node, ledger: Ledger, dsn: str) -> None:
    """Deleting is always allowed, and beyond the bound the oldest garbage goes soon."""
    for number in range(10):
        await node.store(f"{number}")
        await node.delete(f"{number}")
    while node.stored() > BOUND:
        await ledger.storage_used(OWNER)
    garbage = f"SELECT garbage FROM users WHERE user_id = {OWNER}"
    while query(dsn, garbage)[0][0] > BOUND:
        await ledger.storage_used(OWNER)


@pytest_twisted.ensureDeferred
async def test_no_room(
    node: Node, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where garbage does not get less, an upload is refused, nothing of it is left, and
    what was there stays."""
    monkeypatch.setattr(collecting, "PAUSE_SECONDS", 0.001)
    for _ in range(6):
        etag = await node.store("a")
    assert await ledger.claim_owner_garbage(OWNER, 10**9)  # and not deleted
    before = node.stored()
    with pytest.raises(StorageFull):
        await node.store("a")
    assert node.stored() == before
    state = await ledger.write_state(name("a"))
    assert state is not None
    assert state.etag == etag
