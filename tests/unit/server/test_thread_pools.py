"""Threads that hang in storage keep nothing else from being done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from qabel_block.config.config import (
    Config,
    DummyUser,
    InProcess,
    LocalDirectory,
    SqliteLedger,
)
from qabel_block.operations.hashed_body import HashedBody
from qabel_block.server.composition import compose


class _Body:
    def __init__(self) -> None:
        self.pieces = [b"x" * 100_000] * 3

    async def read(self) -> bytes:
        return self.pieces.pop() if self.pieces else b""


@pytest_twisted.ensureDeferred
async def test_hashing_beside_a_storage_that_hangs(tmp_path: Path) -> None:
    """An upload is hashed, so that its client is answered in time, while all threads of
    storage hang in the kernel."""
    config = Config(
        storage=LocalDirectory(tmp_path),
        ledger=SqliteLedger(tmp_path / "ledger.sqlite", migrate=True),
        cache=InProcess(),
        accounts=DummyUser("T"),
        endpoints=("tcp:0",),
        transfers=2,
    )
    parts = compose(config, reactor)
    parts.threads.start()
    parts.hashing.start()
    until = threading.Event()
    hanging = [Deferred.fromCoroutine(parts.threads.run(until.wait)) for _ in range(4)]
    try:
        body = HashedBody(_Body(), parts.hashing, 1_000_000)  # type: ignore[arg-type]
        assert len(await body.sha256()) == 64
    finally:
        until.set()
    for one in hanging:
        await one
    parts.threads.stop()
    parts.hashing.stop()
