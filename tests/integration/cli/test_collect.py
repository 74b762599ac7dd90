"""``qabel-block collect``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import httpx

from qabel_block.ledger.migrate import upgrade
from qabel_block.operations.collector import PENDING_SECONDS
from tests.integration.ledger.support import age_garbage, change
from tests.support.database import query
from tests.support.s3 import Store
from tests.support.server import ServerProcess
from tests.support.tools import run_tool
from tests.support.unprivileged import run_unprivileged

AUTH = {"Authorization": "Token T"}
VERSION = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


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
        assert said == {
            "blobs": 2,
            "failed": 0,
            "waiting": 0,
            "first": None,
            "last": None,
        }
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


def test_left_by_a_crash(tmp_path: Path) -> None:
    """Without a grace period what a crash has left a moment ago goes as well, though it
    looks like an upload under way at first."""
    storage, dsn = tmp_path / "objects", f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    key = f"p/a~{VERSION}"
    (storage / "p").mkdir(parents=True)
    (storage / key).touch()
    now = "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'"
    change(dsn, f"INSERT INTO garbage (blob_key, since) VALUES ('{key}', {now})")
    places = ("--psql-dsn", dsn, "--local-storage", str(storage))
    ended = run_tool("collect", *places, "--grace", "0", "--json")
    (said,) = ended.of_kind("collected")
    assert (said["blobs"], said["waiting"]) == (1, 0)
    assert not (storage / key).exists()


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


def test_read_only_storage(tmp_path: Path) -> None:
    """The status is 2 if no blob can be deleted and 1 if some can't; how many is
    said, and not that they wait until a time that is over."""
    storage, dsn = tmp_path / "objects", f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    for key in (f"p/a~{VERSION}", f"q/a~{VERSION}"):
        (storage / key).parent.mkdir(parents=True)
        (storage / key).touch()
        since = "2001-01-01T00:00:00.000000+00:00"
        change(
            dsn, f"INSERT INTO garbage (blob_key, since) VALUES ('{key}', '{since}')"
        )
    places = ("--psql-dsn", dsn, "--local-storage", str(storage))
    collect = ("collect", *places, "--grace", "0", "--quiet")
    (storage / "p").chmod(0o500)
    some = run_unprivileged(*collect, "--json")
    (said,) = some.of_kind("collected")
    assert (some.status, said["blobs"], said["failed"]) == (1, 1, 1)
    age_garbage(dsn, PENDING_SECONDS)
    none = run_unprivileged(*collect)
    assert none.status == 2
    assert none.out == "0 blobs deleted, 1 could not be; 1 wait\n"
    assert "garbage is not collected: 1 blobs" in none.err
