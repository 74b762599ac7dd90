"""``qabel-block collect``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.s3 import Store
from tests.support.server import ServerProcess
from tests.support.tools import run_tool

AUTH = {"Authorization": "Token T"}


def _use(url: str) -> None:
    """Leave one object, one replaced blob and one deleted blob."""
    for path, body in (("a", b"old"), ("a", b"new"), ("b", b"gone")):
        answer = httpx.post(f"{url}/api/v0/files/p/{path}", content=body, headers=AUTH)
        assert answer.status_code == 204
    assert httpx.delete(f"{url}/api/v0/files/p/b", headers=AUTH).status_code == 204


def test_collect_local(dsn: str, tmp_path: Path) -> None:
    """What is garbage for as long as `--grace` says is deleted, and nothing else,
    beside the server that made it."""
    storage = tmp_path / "objects"
    places = ("--psql-dsn", dsn, "--local-storage", str(storage))
    with ServerProcess(*places, "--dummy-auth", "T", "--dummy-cache") as server:
        _use(server.url)
        early = run_tool("collect", *places, "--json")
        (said,) = early.of_kind("collected")
        assert (said["blobs"], said["waiting"]) == (0, 2)
        ((oldest, newest),) = query(dsn, "SELECT min(since), max(since) FROM garbage")
        for moment, since in ((said["first"], oldest), (said["last"], newest)):
            waits = datetime.fromisoformat(moment) - datetime.fromisoformat(str(since))
            assert abs(waits.total_seconds() - 3600) < 1
        now = run_tool("collect", *places, "--grace", "0", "--json")
        (said,) = now.of_kind("collected")
        assert said == {"blobs": 2, "waiting": 0, "first": None, "last": None}
        assert httpx.get(f"{server.url}/api/v0/files/p/a").content == b"new"
    blobs = (storage / "p").rglob("*")
    files = [path.read_bytes() for path in blobs if path.is_file()]
    assert files == [b"new"]
    assert query(dsn, "SELECT * FROM garbage") == []


def test_collect_s3(store: Store, tmp_path: Path) -> None:
    """The same in a bucket."""
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    bucket = store.new_bucket()
    places = ("--psql-dsn", dsn, *bucket.options())
    server = ServerProcess(
        *places, "--dummy-auth", "T", "--dummy-cache", environment=store.environment
    )
    with server:
        _use(server.url)
    collect = ("collect", *places, "--grace", "0", "--json")
    ended = run_tool(*collect, environment=store.environment)
    (said,) = ended.of_kind("collected")
    assert (said["blobs"], said["waiting"]) == (2, 0)
    assert len(bucket.keys()) == 1


def test_storage_down(tmp_path: Path) -> None:
    """If blobs can't be deleted their notes stay, and the status is 2."""
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    storage = tmp_path / "objects"
    places = ("--psql-dsn", dsn, "--local-storage", str(storage))
    with ServerProcess(*places, "--dummy-auth", "T", "--dummy-cache") as server:
        _use(server.url)
    storage.rename(tmp_path / "elsewhere")
    ended = run_tool("collect", *places, "--grace", "0")
    assert ended.status == 2
    assert "qabel-block: storage: " in ended.err
    assert len(query(dsn, "SELECT * FROM garbage")) == 2
