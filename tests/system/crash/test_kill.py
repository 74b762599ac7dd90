"""What must be true after a kill -9 at any instant (DESIGN)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define, field

from qabel_block.ledger.migrate import upgrade
from qabel_block.names import IDENTITY
from tests.support.database import query
from tests.support.server import ServerProcess

ROUNDS = 8
WRITERS = 6


@define
class Writer:
    """Overwrites and deletes objects of its own until its server is gone.

    :ivar certain: for each path the body that was answered last, ``None`` for
        a deletion.
    :ivar open: the change that was under way when the server went, if any.
    """

    number: int
    certain: dict[str, bytes | None] = field(factory=dict)
    etags: dict[str, str] = field(factory=dict)
    open: tuple[str, bytes | None] | None = None

    def run(self, client: httpx.Client, seed: int) -> None:
        chance = random.Random(seed)
        while True:
            path = f"blocks/{self.number}-{chance.randrange(3)}"
            url = f"/api/v0/files/p/{path}"
            size = chance.choice([0, 100, 70_000, 400_000])
            body = None if chance.random() < 0.2 else chance.randbytes(size)
            self.open = (path, body)
            try:
                if body is None:
                    answer = client.delete(url)
                else:
                    answer = client.post(url, content=body)
            except httpx.TransportError:
                return
            assert answer.status_code == 204
            self.certain[path], self.open = body, None
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


def test_kill_during_uploads(dsn: str, tmp_path: Path) -> None:
    """After each kill -9 during uploads and deletes: every answered change is
    there with its ETag, every unanswered one whole or not at all, the size is
    the sum of the objects, and nothing but garbage is left over."""
    storage = tmp_path / "objects"
    options = ("--psql-dsn", dsn, "--local-storage", str(storage))
    server = ServerProcess(*options, "--dummy-auth", "T", "--dummy-cache")
    writers = [Writer(number) for number in range(WRITERS)]
    auth = {"Authorization": "Token T"}
    chance = random.Random(11)
    for turn in range(ROUNDS):
        server.start()
        clients = [
            httpx.Client(base_url=server.url, headers=auth, timeout=60) for _ in writers
        ]
        threads = [
            threading.Thread(target=writer.run, args=(client, turn * 100 + n))
            for n, (writer, client) in enumerate(zip(writers, clients, strict=True))
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3 + chance.random())
        server.kill()
        for thread in threads:
            thread.join()
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
    uncertain = writer.open[0] if writer.open else None
    for path in {*writer.certain, *([uncertain] if uncertain else [])}:
        answer = client.get(f"/api/v0/files/p/{path}")
        assert answer.status_code in (200, 404)
        found = answer.content if answer.status_code == 200 else None
        etag = answer.headers.get("etag", "")
        if path == uncertain and writer.open is not None:
            assert found in (writer.certain.get(path), writer.open[1])
        else:
            assert found == writer.certain[path]
            assert etag == writer.etags[path]
        # What is there now is where the next round starts.
        writer.certain[path], writer.etags[path] = found, etag
    writer.open = None
