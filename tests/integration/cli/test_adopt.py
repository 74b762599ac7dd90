"""``qabel-block adopt``: moving in from the legacy server."""

from __future__ import annotations

import os
import subprocess
import threading
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from qabel_block.ledger.migrate import downgrade, upgrade
from qabel_block.names import IDENTITY
from qabel_block.operations.collector import PENDING_SECONDS
from tests.integration.cli.conftest import Installation, on_sqlite, on_two
from tests.integration.cli.server import serving, size, url
from tests.integration.ledger.support import age_garbage, change
from tests.integration.storage.blobs import pattern
from tests.support.database import query
from tests.support.legacy import (
    LEGACY,
    LegacyBucket,
    LegacyDirectory,
    fill,
    make_legacy_tables,
)
from tests.support.s3 import Store
from tests.support.s3_proxy import Exchange, S3Proxy
from tests.support.tools import COMMAND, SECONDS, run_tool, tool_environment

P, Q, EMPTY = "3f0c1a52", "9a7e", "nothing-below"
ANN, BOB, OTHER = 7, 8, 99
OBJECTS = {
    P: {
        "index": b"an index",
        "blocks/4b3c": pattern(70_000),
        "blocks/empty": b"",
        "a/b/c-d_e": b"deep",
    },
    Q: {"index": b"another", "block/1": pattern(3 * 2**20)},
}
USERS = {ANN: {P: OBJECTS[P], EMPTY: {}}, BOB: {Q: OBJECTS[Q]}}
SIZE_OF_ANN = sum(map(len, OBJECTS[P].values()))
SIZE_OF_BOB = sum(map(len, OBJECTS[Q].values()))


@pytest.fixture
def legacy(empty_installation: Installation) -> Installation:
    """What the legacy server has left, wrong sizes and all."""
    make_legacy_tables(empty_installation.dsn)
    fill(empty_installation.dsn, empty_installation.storage, USERS)
    change(
        empty_installation.dsn,
        f"INSERT INTO users (user_id, size) VALUES ({ANN}, 5), ({OTHER}, 1000)",
        f"INSERT INTO traffic VALUES ({ANN}, '2027-01-01', 5)",
    )
    return empty_installation


def _digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


def _check_objects(clients: list[httpx.Client], legacy: Installation) -> None:
    for client, prefix in zip(clients, (P, Q), strict=True):
        for path, content in OBJECTS[prefix].items():
            answer = client.get(url(prefix, path))
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["repr-digest"] == _digest(content)
            assert answer.headers["etag"] == legacy.storage.etag(f"{prefix}/{path}")


def test_taken_over(legacy: Installation) -> None:
    """A legacy database with its storage is taken over in place: objects, owners,
    sizes, ETags; and then they behave like all others."""
    before = legacy.storage.contents()
    assert run_tool("migrate", "--psql-dsn", legacy.dsn).status == 0
    ended = legacy.run("adopt")
    assert (ended.status, ended.err) == (0, "")
    assert ended.of_kind("size") == [
        {"user": ANN, "old": 5, "new": SIZE_OF_ANN},
        {"user": BOB, "old": 0, "new": SIZE_OF_BOB},
        {"user": OTHER, "old": 1000, "new": 0},
    ]
    (summary,) = ended.of_kind("adopted")
    assert (summary["objects"], summary["bytes"]) == (6, SIZE_OF_ANN + SIZE_OF_BOB)
    assert legacy.storage.contents() == before
    with serving(legacy, ANN, BOB) as (ann, bob):
        _check_objects([ann, bob], legacy)
        assert [size(ann), size(bob)] == [SIZE_OF_ANN, SIZE_OF_BOB]
        assert ann.get("/api/v0/prefix/").json() == {"prefixes": [P, EMPTY]}
        _use_as_any_other(ann, legacy.storage.etag(f"{P}/index"))
    (collected,) = legacy.run("collect", "--grace", "0").of_kind("collected")
    assert collected["blobs"] == 3
    after = legacy.storage.contents()
    assert f"{P}/index" not in after
    assert f"{P}/blocks/4b3c" not in after


def _use_as_any_other(ann: httpx.Client, etag: str) -> None:
    """Read and change an adopted object with the ETag from the legacy server, which
    clients sent without quotes."""
    index, block = url(P, "index"), url(P, "blocks/4b3c")
    for known in (etag, etag.strip('"')):
        answer = ann.get(index, headers={"If-None-Match": known})
        assert answer.status_code == 304
    part = ann.get(block, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, pattern(70_000)[100:200])
    wrong = ann.post(index, content=b"x", headers={"If-Match": '"1"'})
    assert (wrong.status_code, wrong.headers["etag"]) == (412, etag)
    exists = ann.post(index, content=b"x", headers={"If-None-Match": "*"})
    assert exists.status_code == 412
    written = ann.post(index, content=b"new", headers={"If-Match": etag.strip('"')})
    assert written.status_code == 204
    assert ann.get(index).content == b"new"
    assert ann.post(index, content=b"newer").status_code == 204
    assert ann.delete(block).status_code == 204
    assert ann.get(block).status_code == 404
    assert size(ann) == len(b"newer" + b"deep")


@on_two
def test_second_run(legacy: Installation) -> None:
    """A second run finds everything done, and changes nothing."""
    upgrade(legacy.dsn)
    legacy.run("adopt")
    tables = [
        query(legacy.dsn, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("users", "objects", "garbage", "prefixes", "unfinished")
    ]
    ended = legacy.run("adopt")
    assert ended.status == 0
    assert [entry["kind"] for entry in ended.said] == ["adopted"]
    assert ended.said[0]["objects"] == 0
    assert ended.said[0]["known"] == 6
    assert tables == [
        query(legacy.dsn, f"SELECT * FROM {table} ORDER BY 1, 2")
        for table in ("users", "objects", "garbage", "prefixes", "unfinished")
    ]


@on_two
def test_unknown_prefixes(legacy: Installation) -> None:
    """What is below a prefix that the database does not know is listed and left
    alone; the rest is adopted."""
    upgrade(legacy.dsn)
    legacy.storage.put("nobodys/a", b"x")
    legacy.storage.put("nobodys/b", b"x")
    legacy.storage.put(f"{P}/no.name", b"x")
    before = legacy.storage.contents()
    ended = legacy.run("adopt")
    assert ended.status == 1
    assert ended.of_kind("unknown-prefix") == [{"prefix": "nobodys"}]
    assert ended.of_kind("stray") == [{"name": f"{P}/no.name"}]
    assert ended.of_kind("adopted")[0]["objects"] == 6
    assert legacy.storage.contents() == before
    assert query(legacy.dsn, "SELECT * FROM garbage") == []


@on_two
def test_beside_the_prefixes(legacy: Installation, tmp_path: Path) -> None:
    """What is beside the prefixes and can't be one is listed and left alone, too;
    `verify` names it until it is acknowledged."""
    upgrade(legacy.dsn)
    for key in ("has.dot/x", f"{'x' * 49}/x", "rootfile"):
        legacy.storage.put(key, b"x")
    names = [{"name": name} for name in ("has.dot", "rootfile", "x" * 49)]
    ended = legacy.run("adopt")
    assert ended.status == 1
    assert sorted(ended.of_kind("stray"), key=str) == names
    known = ("--known", str(tmp_path / "known"))
    ended = legacy.run("verify", "--no-read", *known)
    assert ended.status == 1
    assert sorted(entry["name"] for entry in ended.of_kind("stray")) == [
        name["name"] for name in names
    ]
    assert legacy.run("verify", "--no-read", *known, "--remember").status == 0
    assert legacy.run("verify", "--no-read", *known).of_kind("stray") == []
    assert {"has.dot/x", "rootfile"} < legacy.storage.contents().keys()


@on_two
def test_written_before(legacy: Installation) -> None:
    """What clients have written or deleted before it was adopted stays so: an old
    blob never comes back, and goes with the garbage."""
    upgrade(legacy.dsn)
    with serving(legacy, ANN) as (ann,):
        assert ann.post(url(P, "index"), content=b"new").status_code == 204
        assert ann.delete(url(P, "blocks/4b3c")).status_code == 204
        assert ann.post(url(P, "blocks/empty"), content=b"x").status_code == 204
        assert ann.delete(url(P, "blocks/empty")).status_code == 204
        ended = legacy.run("adopt")
        assert ended.status == 0
        assert ended.of_kind("adopted")[0]["left"] == 3
        assert ann.get(url(P, "index")).content == b"new"
        assert ann.get(url(P, "blocks/4b3c")).status_code == 404
        assert ann.get(url(P, "blocks/empty")).status_code == 404
        assert ann.get(url(P, "a/b/c-d_e")).content == b"deep"
        assert size(ann) == len(b"new" + b"deep")
    age_garbage(legacy.dsn, PENDING_SECONDS)
    legacy.run("collect", "--grace", "0")
    left = {key for key in legacy.storage.contents() if key.startswith(P)}
    assert f"{P}/a/b/c-d_e" in left
    assert len(left) == 2
    assert legacy.run("adopt").of_kind("adopted")[0]["objects"] == 0


def test_beside_the_server(local: Installation) -> None:
    """While objects are adopted, clients overwrite, write and delete the same
    paths: each path ends as its client left it, or as it was if no client came, and
    the size is the sum."""
    count, prefix = 1500, "p"
    change(local.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    for number in range(count):
        local.storage.put(f"{prefix}/{number}", b"legacy")
    change(local.dsn, "INSERT INTO unfinished VALUES ('adopt', '2027-01-01T00:00:00Z')")
    done: dict[int, bytes | None] = {}

    def use(client: httpx.Client, first: int) -> None:
        for number in range(first, count, 60):
            where = url(prefix, str(number))
            kind = number % 3
            if kind in (0, 1):
                assert client.post(where, content=b"client's").status_code == 204
            if kind in (1, 2):
                assert client.delete(where).status_code == 204
            done[number] = b"client's" if kind == 0 else None

    with serving(local, ANN) as (ann,):
        users = [
            threading.Thread(target=use, args=(ann, first), daemon=True)
            for first in range(20)
        ]
        for user in users:
            user.start()
        ended = local.run("adopt")
        for user in users:
            user.join(timeout=120)
            assert not user.is_alive()
        assert ended.status == 0
        assert len(done) == count // 3
        stored = 0
        for number in range(0, count, 7):
            answer = ann.get(url(prefix, str(number)))
            expected = done.get(number, b"legacy")
            assert (answer.content if answer.is_success else None) == expected
        ((stored,),) = query(local.dsn, "SELECT sum(size) FROM objects")
        assert size(ann) == stored
    assert local.run("adopt").of_kind("adopted")[0]["objects"] == 0


def test_unreadable(moto: Store, tmp_path: Path) -> None:
    """An object that can't be read is named, and left for another time; until then
    what clients do to its path is remembered."""
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    change(dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    with S3Proxy(moto) as double:
        frozen = Installation(dsn, LegacyBucket(double.store.new_bucket()))
        for name in ("good", "bad"):
            frozen.storage.put(f"p/{name}", b"1234")

        def refuse(exchange: Exchange) -> None:
            if exchange.target.endswith("/bad"):
                exchange.refuse(403, "InvalidObjectState")
            else:
                exchange.answer(*exchange.forward())

        double.order(refuse, "get_object", times=float("inf"))
        first = frozen.run("adopt")
        assert first.status == 1
        (finding,) = first.of_kind("unreadable-blob")
        assert (finding["prefix"], finding["path"]) == ("p", "bad")
        assert "InvalidObjectState" in finding["reason"]
        assert first.of_kind("adopted")[0]["objects"] == 1
        assert query(dsn, "SELECT task FROM unfinished") == [("adopt",)]
        double.recover()
        assert frozen.run("adopt").of_kind("adopted")[0]["objects"] == 1
    assert query(dsn, "SELECT task FROM unfinished") == []


@on_sqlite
def test_written_meanwhile(local: Installation) -> None:
    """An object that has changed since it was listed is named, and adopted another
    time."""
    change(
        local.dsn,
        f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})",
        "INSERT INTO unfinished VALUES ('adopt', '2027-01-01T00:00:00Z')",
    )
    assert isinstance(local.storage, LegacyDirectory)
    local.storage.put("p/same", b"1234")
    local.storage.put("p/growing", b"1234")
    growing = local.storage.root / "p/growing"
    os.truncate(growing, 2**28)  # to hash it takes longer than to write again
    ended = threading.Event()

    def grow() -> None:
        with growing.open("ab", buffering=0) as file:
            while not ended.wait(0.001):
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        first = local.run("adopt")
    finally:
        ended.set()
        writer.join()
    assert first.status == 1
    (finding,) = first.of_kind("unreadable-blob")
    assert (finding["prefix"], finding["path"]) == ("p", "growing")
    assert "changed" in finding["reason"]
    assert first.of_kind("adopted")[0]["objects"] == 1
    assert query(local.dsn, "SELECT task FROM unfinished") == [("adopt",)]
    second = local.run("adopt")
    assert (second.status, second.of_kind("adopted")[0]["objects"]) == (0, 1)
    assert query(local.dsn, "SELECT task FROM unfinished") == []


def test_down_and_up(local: Installation) -> None:
    """Back to the legacy schema, legacy objects that were not changed are where the
    legacy server looks for them; up again, `rebuild` finds everything."""
    change(local.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    local.storage.put("p/kept", b"kept")
    local.storage.put("p/changed", b"old")
    assert local.run("adopt").status == 0
    with serving(local, ANN) as (ann,):
        ann.post(url("p", "changed"), content=b"changed")
        ann.post(url("p", "new"), content=b"new")
    downgrade(local.dsn, LEGACY)
    assert query(local.dsn, "SELECT * FROM users") == [(ANN, len(b"keptchangednew"))]
    contents = local.storage.contents()
    assert (contents["p/kept"], contents["p/changed"]) == (b"kept", b"old")
    upgrade(local.dsn)
    assert query(local.dsn, "SELECT task FROM unfinished") == [("adopt",)]
    assert local.run("rebuild").status == 0
    with serving(local, ANN) as (ann,):
        for path in ("kept", "changed", "new"):
            assert ann.get(url("p", path)).content == path.encode()


@on_two
def test_empty_storage(installation: Installation) -> None:
    """If storage holds nothing below any prefix of the ledger, it is the wrong one:
    nothing is written, and the adoption goes on unless the operator insists."""
    dsn, storage = installation.dsn, installation.storage
    change(
        dsn,
        f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})",
        f"INSERT INTO users (user_id, size) VALUES ({ANN}, 1000)",
        "INSERT INTO unfinished VALUES ('adopt', '2027-01-01T00:00:00Z')",
    )
    storage.put("another/a", b"x")
    if isinstance(storage, LegacyDirectory):
        (storage.root / "p/empty").mkdir(parents=True)
    ended = installation.run("adopt")
    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert "is it the right one?" in line
    assert query(dsn, "SELECT size FROM users") == [(1000,)]
    assert query(dsn, "SELECT task FROM unfinished") == [("adopt",)]
    assert query(dsn, "SELECT confirmed FROM installation") == [(None,)]
    if isinstance(storage, LegacyDirectory):
        assert not (storage.root / IDENTITY).exists()
    assert installation.run("adopt", "--force").status == 1
    assert query(dsn, "SELECT task FROM unfinished") == []


@on_sqlite
def test_no_storage(local: Installation) -> None:
    """A directory that is not there is not made."""
    assert isinstance(local.storage, LegacyDirectory)
    change(local.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    local.storage.root.rmdir()
    ended = local.run("adopt")
    assert (ended.status, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert not local.storage.root.exists()


@on_sqlite
def test_few_descriptors(local: Installation) -> None:
    """The deepest folders that a path can have need few open files."""
    change(local.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    local.storage.put(f"p/{'a/' * 449}a", b"1234")
    for command in ("adopt", "rebuild", "verify"):
        ended = subprocess.run(
            ["prlimit", "--nofile=256:256", *COMMAND, command, *local.places],
            capture_output=True,
            text=True,
            env=tool_environment(),
            timeout=SECONDS,
        )
        assert (ended.returncode, "open files" in ended.stderr) == (0, False)
    assert query(local.dsn, "SELECT size FROM objects") == [(4,)]


@on_sqlite
def test_text(local: Installation) -> None:
    """People are told in words."""
    change(local.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('p', {ANN})")
    local.storage.put("p/a", b"1234")
    local.storage.put("q/a", b"1234")
    ended = run_tool("adopt", *local.places)
    assert ended.out.splitlines() == [
        f"user {ANN}: 0 bytes before, 4 now",
        "prefix that the ledger does not know, left alone: q",
        "1 objects adopted (4 B); 0 were objects already;"
        " 0 were overwritten or deleted since",
    ]
    assert ended.err.startswith("adopt: 1 blobs in ")
