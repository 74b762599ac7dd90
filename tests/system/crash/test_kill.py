"""What must be true after a kill -9 at any instant (DESIGN)."""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define, field

from qabel_block.ledger.migrate import upgrade
from qabel_block.names import IDENTITY
from tests.support.database import query
from tests.support.disturbances import Disturbances
from tests.support.faketime import WallClock
from tests.support.server import ServerProcess

ROUNDS = int(os.environ.get("QABEL_BLOCK_TEST_KILLS", "2"))
"""How often the server is killed."""

WRITERS = 6


@define
class Writer:
    """Overwrites and deletes objects of its own until its server is gone.

    :ivar certain: for each path the body that was answered last, ``None`` for
        a deletion.
    :ivar possible: for each path what may be there instead: what was answered with
        503, or was under way when the server went.
    """

    number: int
    certain: dict[str, bytes | None] = field(factory=dict)
    etags: dict[str, str] = field(factory=dict)
    possible: dict[str, list[bytes | None]] = field(factory=lambda: defaultdict(list))

    def run(self, client: httpx.Client, seed: int) -> None:
        chance = random.Random(seed)
        while True:
            path = f"blocks/{self.number}-{chance.randrange(3)}"
            url = f"/api/v0/files/p/{path}"
            size = chance.choice([0, 100, 70_000, 400_000])
            body = None if chance.random() < 0.2 else chance.randbytes(size)
            self.possible[path].append(body)
            try:
                if body is None:
                    answer = client.delete(url)
                else:
                    answer = client.post(url, content=body)
            except httpx.TransportError:
                return
            if answer.status_code == 503:  # the database is read-only for a while
                continue
            assert answer.status_code == 204
            self.possible[path].clear()
            self.certain[path] = body
            self.etags[path] = answer.headers.get("etag", "")


@pytest.fixture(params=["postgresql", "sqlite"])
def dsn(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        dsn = new()
    upgrade(dsn)
    return dsn


def _left_over(dsn: str, storage: Path) -> set[str]:
    """Return the files that neither the ledger nor its garbage accounts for."""
    known = {key for (key,) in query(dsn, "SELECT blob_key FROM objects")}
    known |= {key for (key,) in query(dsn, "SELECT blob_key FROM garbage")}
    files = {
        str(path.relative_to(storage)).replace("~/", "/")
        for path in storage.rglob("*")
        if path.is_file() and path.name != IDENTITY
    }
    return files - known


@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_kill_during_uploads(dsn: str, tmp_path: Path) -> None:
    """After each kill -9 during uploads and deletes, whose server's clock has jumped
    or whose database was demoted: every answered change is there with its ETag, every
    unanswered one whole or not at all, the size is the sum of the objects, and
    nothing but garbage is left over."""
    storage = tmp_path / "objects"
    options = ("--psql-dsn", dsn, "--local-storage", str(storage))
    clock = WallClock(tmp_path / "clock")
    disturbances = Disturbances(clock, dsn)
    server = ServerProcess(
        *(*options, "--dummy-auth", "T", "--dummy-cache"),
        environment=clock.environment,
    )
    writers = [Writer(number) for number in range(WRITERS)]
    auth = {"Authorization": "Token T"}
    chance = random.Random(11)
    for turn in range(ROUNDS):
        server.start()
        with ThreadPoolExecutor(WRITERS) as threads:
            working = [
                threads.submit(
                    writer.run,
                    httpx.Client(base_url=server.url, headers=auth, timeout=60),
                    turn * 100 + writer.number,
                )
                for writer in writers
            ]
            try:
                disturbances.happen(chance)
                time.sleep(0.3 + chance.random() / 2)
            finally:  # or the writers would go on
                server.kill()
            for work in working:
                work.result()
        with server:
            client = httpx.Client(base_url=server.url, headers=auth, timeout=60)
            for writer in writers:
                _check(client, writer)
            (total,) = _one(dsn, "SELECT coalesce(sum(size), 0) FROM objects")
            assert client.get("/api/v0/quota/").json()["size"] == total
            assert list((storage / ".incoming").iterdir()) == []
            assert _left_over(dsn, storage) == set()
        assert server.stop() == 0
    assert sum(len(writer.certain) for writer in writers) > WRITERS


def _one(dsn: str, sql: str) -> tuple[Any, ...]:
    (row,) = query(dsn, sql)
    return row


def _check(client: httpx.Client, writer: Writer) -> None:
    for path in {*writer.certain, *writer.possible}:
        answer = client.get(f"/api/v0/files/p/{path}")
        assert answer.status_code in (200, 404)
        found = answer.content if answer.status_code == 200 else None
        etag = answer.headers.get("etag", "")
        assert found in (writer.certain.get(path), *writer.possible[path])
        if not writer.possible[path]:
            assert etag == writer.etags[path]
        # What is there now is where the next round starts.
        writer.certain[path], writer.etags[path] = found, etag
    writer.possible.clear()
