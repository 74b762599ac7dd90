"""``qabel-block rebuild``: the objects from what is in storage."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from qabel_block.ledger.migrate import downgrade, upgrade
from qabel_block.storage.local.layout import file_of
from tests.integration.cli.conftest import Installation, on_sqlite, on_two
from tests.integration.cli.server import serving, size, url
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.faketime import WallClock
from tests.support.legacy import LEGACY, LegacyDirectory

ANN, BOB = 7, 8
P, Q = "p", "q"


def _rows(dsn: str) -> list[tuple[Any, ...]]:
    return query(
        dsn,
        "SELECT prefix, path, blob_key, size, etag, sha256 FROM objects ORDER BY 1, 2",
    )


def _post(client: httpx.Client, prefix: str, path: str, content: bytes) -> None:
    assert client.post(url(prefix, path), content=content).status_code == 204


def _own(dsn: str) -> None:
    change(
        dsn,
        "INSERT INTO prefixes (name, user_id)"
        f" VALUES ('{P}', {ANN}), ('{Q}', {BOB}), ('empty', {BOB})",
    )


@on_two
def test_ledger_lost(installation: Installation) -> None:
    """After objects and garbage were lost, every object is there again, as it was:
    the newest of its versions, with its ETag; and older ones are left for
    `verify --repair`."""
    _own(installation.dsn)
    installation.storage.put(f"{P}/legacy", b"legacy")
    installation.storage.put(f"{P}/replaced", b"older")
    assert installation.run("adopt").status == 0
    with serving(installation, ANN, BOB) as (ann, bob):
        for content in (b"first", b"second", b"third"):
            _post(ann, P, "a/b", content)
        _post(ann, P, "replaced", b"newer")
        _post(ann, P, "empty", b"")
        _post(bob, Q, "block/1", b"x" * 100_000)
    before = _rows(installation.dsn)
    change(installation.dsn, "DELETE FROM objects", "DELETE FROM garbage")
    ended = installation.run("rebuild")
    assert (ended.status, ended.err) == (0, "")
    (summary,) = ended.of_kind("rebuilt")
    assert summary["objects"] == 5
    assert len(ended.of_kind("unknowable")) == 3
    assert _rows(installation.dsn) == before
    with serving(installation, ANN, BOB) as (ann, bob):
        assert ann.get(url(P, "a/b")).content == b"third"
        assert size(ann) == len(b"third" + b"newer" + b"legacy")
        assert size(bob) == 100_000
    verified = installation.run("verify", "--read", "--repair", "--grace", "0")
    assert {entry["path"] for entry in verified.of_kind("unknown-blob")} == {
        "a/b",
        "replaced",
    }
    assert verified.of_kind("verified")[0]["repaired"] == 3
    assert installation.run("verify", "--read").status == 0
    assert _rows(installation.dsn) == before


def test_old_backup(local: Installation) -> None:
    """After the ledger was restored from a backup, what was stored since is there,
    and what has no blob any more is dropped and named; if that is more than a tenth
    of the objects, only if the operator insists."""
    _own(local.dsn)
    with serving(local, ANN) as (ann,):
        for path in ("kept", "changed", "deleted"):
            _post(ann, P, path, b"old")
        backup = _rows(local.dsn)
        _post(ann, P, "changed", b"newer")
        _post(ann, P, "new", b"new")
        assert ann.delete(url(P, "deleted")).status_code == 204
    local.run("collect", "--grace", "0")
    now = _rows(local.dsn)
    change(
        local.dsn,
        "DELETE FROM objects",
        *(
            "INSERT INTO objects (prefix, path, blob_key, size, etag, sha256, created)"
            f" VALUES ('{prefix}', '{path}', '{key}', {bytes_}, '{etag}', '{sha}',"
            " '2027-01-01T00:00:00.000000+00:00')"
            for prefix, path, key, bytes_, etag, sha in backup
        ),
        f"UPDATE users SET size = 9 WHERE user_id = {ANN}",
    )
    refused = local.run("rebuild")
    assert (refused.status, refused.of_kind("dropped")) == (2, [])
    assert "1 of 4 objects have no blob" in refused.err
    ended = local.run("rebuild", "--force")
    assert ended.status == 0
    assert ended.of_kind("dropped") == [{"prefix": P, "path": "deleted", "size": 3}]
    assert _rows(local.dsn) == now
    assert query(local.dsn, f"SELECT size FROM users WHERE user_id = {ANN}") == [(11,)]
    assert local.run("verify").status == 0
    second = local.run("rebuild").of_kind("rebuilt")[0]
    assert (second["objects"], second["dropped"], second["known"]) == (0, 0, 3)


@on_sqlite
def test_garbage_stays_garbage(local: Installation) -> None:
    """What the ledger still knows to be garbage does not come back."""
    _own(local.dsn)
    with serving(local, ANN) as (ann,):
        _post(ann, P, "a", b"x")
        assert ann.delete(url(P, "a")).status_code == 204
    assert local.run("rebuild").of_kind("rebuilt")[0]["objects"] == 0
    assert _rows(local.dsn) == []


@on_sqlite
def test_no_prefixes(local: Installation) -> None:
    """Without users and prefixes there is nothing to rebuild from."""
    local.storage.put(f"{P}/a", b"x")
    ended = local.run("rebuild")
    assert (ended.status, ended.out) == (2, "")
    assert "restore users and prefixes" in ended.err


@on_sqlite
def test_wrong_storage(local: Installation) -> None:
    """If storage holds nothing that belongs to the ledger, it is the wrong one, and
    no object is dropped."""
    assert isinstance(local.storage, LegacyDirectory)
    _own(local.dsn)
    local.storage.put(f"{P}/a", b"x")
    local.run("adopt")
    local.storage.root.rename(local.storage.root.with_name("elsewhere"))
    assert local.run("rebuild").status == 2
    local.storage.root.mkdir()
    ended = local.run("rebuild")
    assert (ended.status, ended.out) == (2, "")
    assert "is it the right one?" in ended.err
    assert len(_rows(local.dsn)) == 1


@on_sqlite
def test_clock_that_was_put_back(local: Installation, tmp_path: Path) -> None:
    """What was stored after the clock had been put back is what rebuild finds, also in
    place of something that was deleted before."""
    behind = WallClock.required(tmp_path / "clock")
    _own(local.dsn)
    with serving(local, ANN) as (ann,):
        for path in ("replaced", "deleted"):
            _post(ann, P, path, b"old")
        assert ann.delete(url(P, "deleted")).status_code == 204
    behind.set_off(-600)
    with serving(local, ANN, clock=behind) as (ann,):
        for path in ("replaced", "deleted"):
            _post(ann, P, path, b"new")
    change(local.dsn, "DELETE FROM objects", "DELETE FROM garbage")
    assert local.run("rebuild").status == 0
    with serving(local, ANN) as (ann,):
        for path in ("replaced", "deleted"):
            assert ann.get(url(P, path)).content == b"new"


@on_two
def test_overlapping_uploads(installation: Installation) -> None:
    """Of two uploads that overlap, rebuild finds the one that was committed last,
    though it began first."""
    _own(installation.dsn)
    with serving(installation, ANN, ANN) as (ann, other):

        def content() -> Iterator[bytes]:
            yield b"began first"
            _post(other, P, "a", b"began last")

        assert ann.post(url(P, "a"), content=content()).status_code == 204
        assert ann.get(url(P, "a")).content == b"began first"
    change(installation.dsn, "DELETE FROM objects", "DELETE FROM garbage")
    assert installation.run("rebuild").status == 0
    with serving(installation, ANN) as (ann,):
        assert ann.get(url(P, "a")).content == b"began first"


@on_sqlite
def test_fresh_ledger(local: Installation, tmp_path: Path) -> None:
    """A ledger that was made anew takes over the storage's id: no server uses the
    two before, and every one can afterwards."""
    _own(local.dsn)
    with serving(local, ANN) as (ann,):
        _post(ann, P, "a", b"x")
    before = _rows(local.dsn)
    fresh = Installation(f"sqlite:///{tmp_path / 'fresh.sqlite'}", local.storage)
    upgrade(fresh.dsn)
    _own(fresh.dsn)
    for command in ("verify", "collect", "adopt"):
        ended = fresh.run(command)
        assert (ended.status, ended.out) == (2, "")
        assert "qabel-block rebuild" in ended.err
    with serving(fresh, ANN) as (ann,):
        refused = ann.post(url(P, "b"), content=b"y", headers={"Accept": "*/*"})
        assert refused.status_code == 503
        assert "qabel-block rebuild" in refused.json()["detail"]
        assert "qabel-block rebuild" in ann.get("/readyz").json()["storage"]
    assert fresh.run("rebuild").status == 0
    assert _rows(fresh.dsn) == before
    for each in (fresh, local):
        with serving(each, ANN) as (ann,):
            assert ann.get(url(P, "a")).content == b"x"
        assert each.run("verify").status == 0


@on_sqlite
def test_disk_that_is_missing(local: Installation) -> None:
    """A disk that is not mounted costs no object, whatever was stored meanwhile."""
    assert isinstance(local.storage, LegacyDirectory)
    _own(local.dsn)
    with serving(local, ANN) as (ann,):
        for number in range(20):
            _post(ann, P, f"{number}", b"x")
    root = local.storage.root
    disk = root.rename(root.with_name("disk"))
    root.mkdir()
    local.storage.put(f"{P}/on-the-wrong-disk", b"x")
    ended = local.run("rebuild")
    assert ended.status == 2
    assert ended.of_kind("dropped") == []
    for command in ("verify", "collect", "adopt"):
        ended = local.run(command)
        assert (ended.status, ended.out) == (2, "")
    shutil.rmtree(root)
    disk.rename(root)
    assert local.run("verify").status == 0
    with serving(local, ANN) as (ann,):
        assert ann.get(url(P, "19")).content == b"x"


@on_two
def test_back_again(installation: Installation) -> None:
    """Of what both servers wrote, in whatever order, the last is the object: also if
    it is the legacy server's, in any number of runs, and `verify --repair` deletes
    only what was replaced."""
    _own(installation.dsn)
    paths = ("meta", "deep/er/meta")
    for path in (*paths, "ours"):
        installation.storage.put(f"{P}/{path}", b"first")
    assert installation.run("adopt").status == 0
    with serving(installation, ANN) as (ann,):
        for path in (*paths, "ours"):
            for content in (b"second", b"third"):
                _post(ann, P, path, content)
    downgrade(installation.dsn, LEGACY)
    _next_second()
    for path in paths:
        installation.storage.put(f"{P}/{path}", b"the newest")
    upgrade(installation.dsn)
    for _ in range(2):
        assert installation.run("rebuild").status == 0
        assert {key for _, _, key, *_ in _rows(installation.dsn)} >= {
            f"{P}/{path}" for path in paths
        }
    repaired = installation.run("verify", "--repair", "--grace", "0")
    assert repaired.of_kind("verified")[0]["repaired"] == 6
    assert installation.run("rebuild").of_kind("rebuilt")[0]["objects"] == 0
    assert installation.run("verify").status == 0
    with serving(installation, ANN) as (ann,):
        for path in paths:
            assert ann.get(url(P, path)).content == b"the newest"
        assert ann.get(url(P, "ours")).content == b"third"
        assert size(ann) == len(b"the newest" * 2 + b"third")


@on_sqlite
def test_later_versions(local: Installation) -> None:
    """What this server stored after the legacy server's last is the object, though
    the ledger had that one; the later comes first or last, on whatever page."""
    _own(local.dsn)
    for number in range(1100):
        local.storage.put(f"{P}/{number % 2}/{number}", b"legacy")
    assert local.run("adopt").status == 0
    adopted = _rows(local.dsn)
    with serving(local, ANN) as (ann,):
        for number in (0, 1, 1098, 1099):
            _post(ann, P, f"{number % 2}/{number}", b"ours")
    now = _rows(local.dsn)
    change(local.dsn, "DELETE FROM objects", "DELETE FROM garbage")
    assert local.run("rebuild").status == 0
    assert _rows(local.dsn) == now
    for prefix, path, key, bytes_, etag, sha in adopted:
        change(
            local.dsn,
            f"UPDATE objects SET blob_key = '{key}', size = {bytes_},"
            f" etag = '{etag}', sha256 = '{sha}'"
            f" WHERE prefix = '{prefix}' AND path = '{path}' AND blob_key <> '{key}'",
        )
    assert _rows(local.dsn) == adopted
    assert local.run("rebuild").of_kind("rebuilt")[0]["objects"] == 4
    assert _rows(local.dsn) == now


@on_two
def test_older_blob(installation: Installation) -> None:
    """If the blob of an object is missing, the newest that is there of its path is
    the object after one run, and named; if that are too many, only if the operator
    insists."""
    _own(installation.dsn)
    installation.storage.put(f"{P}/legacy", b"legacy")
    assert installation.run("adopt").status == 0
    with serving(installation, ANN) as (ann,):
        for content in (b"1st", b"2nd", b"last"):
            _post(ann, P, "a", content)
        for path in ("legacy", "alone", "kept"):
            _post(ann, P, path, b"last")
    newest = {path: key for _, path, key, *_ in _rows(installation.dsn)}
    change(installation.dsn, "DELETE FROM garbage")
    for path in ("a", "legacy", "alone"):
        _remove(installation, newest[path])
    refused = installation.run("rebuild")
    assert (refused.status, refused.of_kind("older-blob")) == (2, [])
    assert "3 of 4 objects have no blob" in refused.err
    assert {path: key for _, path, key, *_ in _rows(installation.dsn)} == newest
    ended = installation.run("rebuild", "--force")
    assert ended.status == 0
    assert ended.of_kind("dropped") == [{"prefix": P, "path": "alone", "size": 4}]
    assert sorted(one["path"] for one in ended.of_kind("older-blob")) == ["a", "legacy"]
    (summary,) = ended.of_kind("rebuilt")
    assert [summary[name] for name in ("objects", "known", "dropped", "left")] == [
        *(2, 1, 1, 1)
    ]
    with serving(installation, ANN) as (ann,):
        for path, content in (("a", b"2nd"), ("legacy", b"legacy"), ("kept", b"last")):
            assert ann.get(url(P, path)).content == content
        assert size(ann) == len(b"2ndlegacylast")


def _next_second() -> None:
    """Wait: the times of some stores are whole seconds."""
    time.sleep(1.1)


def _remove(installation: Installation, key: str) -> None:
    """Remove a blob of ours behind everybody's back."""
    local = isinstance(installation.storage, LegacyDirectory)
    installation.storage.remove("/".join(file_of(key)) if local else key)
