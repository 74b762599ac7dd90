"""``qabel-block verify``: each finding is planted, and found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.cli.conftest import Installation, on_sqlite, on_two
from tests.integration.cli.server import serving, url
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.legacy import LegacyDirectory
from tests.support.tools import run_tool

ANN, BOB = 7, 8
P = "p"
OLD = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
"""A version of 2016."""

UNKNOWN = {f"{P}/unknown~{OLD}", f"{P}/ok~{OLD}", f"{P}/ok"}
"""Blobs of which the ledger knows nothing, and that are nobody's object."""


def _fill(installation: Installation) -> None:
    """Store some objects through a server."""
    change(
        installation.dsn,
        f"INSERT INTO prefixes (name, user_id) VALUES ('{P}', {ANN}), ('e', {BOB})",
    )
    with serving(installation, ANN) as (ann,):
        for path in ("ok", "ok", "missing", "long", "short", "a/damaged", "gone"):
            _upload(ann, path, f"this is {path}".encode())
        assert ann.delete(url(P, "gone")).status_code == 204


def _upload(client: httpx.Client, path: str, content: bytes) -> None:
    assert client.post(url(P, path), content=content).status_code == 204


def _stored_as(installation: Installation, path: str) -> str:
    """Return what the blob of an object is stored as."""
    ((key,),) = query(
        installation.dsn, f"SELECT blob_key FROM objects WHERE path = '{path}'"
    )
    if isinstance(installation.storage, LegacyDirectory):
        *folders, name = str(key).split("/")
        return "/".join((folders[0], *(f"{f}~" for f in folders[1:]), name))
    return str(key)


def _plant(installation: Installation) -> None:
    """Do all the damage there is."""
    storage = installation.storage
    storage.remove(_stored_as(installation, "missing"))
    storage.put(_stored_as(installation, "long"), b"this is longer")
    storage.put(_stored_as(installation, "short"), b"this")
    storage.put(_stored_as(installation, "a/damaged"), b"this is a/dAmaged")
    for key in UNKNOWN:
        storage.put(key, b"x")
    storage.put(f"{P}/legacy", b"x")
    storage.put(f"{P}/no.name", b"x")
    storage.put("nobodys/a", b"x")
    storage.put("nobodys/b", b"x")
    change(
        installation.dsn,
        f"UPDATE users SET size = size + 5 WHERE user_id = {ANN}",
        "INSERT INTO users (user_id, size) VALUES (99, 7)",
        "INSERT INTO objects (prefix, path, blob_key, size, etag, created)"
        " SELECT 'ghost', path, blob_key, size, etag, created"
        " FROM objects WHERE path = 'ok'",
    )


def _found(entries: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """Return the findings: kind, and what it is about."""
    return {
        (
            entry["kind"],
            *(
                entry[name]
                for name in ("prefix", "path", "name", "user")
                if name in entry
            ),
        )
        for entry in entries
        if entry["kind"] != "verified"
    }


LASTING = {
    ("missing-blob", P, "missing"),
    ("wrong-size", P, "long"),
    ("wrong-size", P, "short"),
    ("damaged-blob", P, "a/damaged"),
    ("orphan", "ghost", "ok"),
    ("not-adopted", P, "legacy"),
    ("stray", f"{P}/no.name"),
    ("unknown-prefix", "nobodys"),
}
"""What can't be repaired without loss."""

REPAIRED = {
    ("unknown-blob", P, "unknown"),
    ("unknown-blob", P, "ok"),
    ("user-size", ANN),
    ("user-size", 99),
}


@on_two
def test_nothing_to_find(installation: Installation) -> None:
    """Where all is well nothing is found, garbage and unfinished uploads included;
    the status is 0."""
    _fill(installation)
    ended = installation.run("verify", "--read")
    assert (ended.status, ended.err) == (0, "")
    (summary,) = ended.said
    assert summary == {
        "kind": "verified",
        "objects": 5,
        "blobs": 7,
        "users": 2,
        "read": True,
        "findings": 0,
        "repaired": 0,
        "known": 0,
    }


def test_findings(installation: Installation) -> None:
    """Each kind of trouble is found and named, without a change; `--repair` mends
    what can be mended without loss, and touches nothing else."""
    _fill(installation)
    _plant(installation)
    before = installation.storage.contents()
    ended = installation.run("verify", "--read")
    assert ended.status == 1
    assert _found(ended.said) == LASTING | REPAIRED
    (summary,) = ended.of_kind("verified")
    assert (summary["findings"], summary["repaired"]) == (13, 0)
    assert installation.storage.contents() == before

    young = installation.run("verify", "--no-read", "--repair", "--grace", "999999999")
    assert {entry["kind"] for entry in young.said if entry.get("repaired")} == {
        "verified",
        "user-size",
    }
    assert ("damaged-blob", P, "a/damaged") not in _found(young.said)
    assert installation.storage.contents() == before

    mended = installation.run("verify", "--read", "--repair", "--grace", "0")
    assert mended.status == 1
    assert mended.of_kind("verified")[0]["repaired"] == len(UNKNOWN)
    after = installation.storage.contents()
    assert after == {key: before[key] for key in before.keys() - UNKNOWN}
    again = installation.run("verify", "--read", "--repair", "--grace", "0")
    assert _found(again.said) == LASTING
    ((size, total),) = query(
        installation.dsn,
        "SELECT (SELECT size FROM users WHERE user_id = 7), sum(size) FROM objects"
        f" WHERE prefix = '{P}'",
    )
    assert size == total


@on_sqlite
def test_default_of_read(local: Installation) -> None:
    """On local storage blobs are read unless that is not wanted."""
    assert local.run("verify").of_kind("verified")[0]["read"] is True
    assert local.run("verify", "--no-read").of_kind("verified")[0]["read"] is False


@on_sqlite
def test_text(local: Installation) -> None:
    """People are told in words."""
    change(
        local.dsn,
        f"INSERT INTO prefixes (name, user_id) VALUES ('{P}', {ANN})",
        f"INSERT INTO users (user_id, size) VALUES ({ANN}, 1234)",
    )
    local.storage.put(f"{P}/a~{OLD}", b"x")
    ended = run_tool("verify", *local.places, "--repair", "--quiet")
    assert ended.out.splitlines() == [
        f"unknown blob: {P}/a~{OLD}",
        "the size of a user is not the sum of the objects: user 7: 1,234,"
        " should be 0 (repaired)",
        "0 objects, 1 blobs (read), 1 users: 2 findings, 1 of them repaired",
    ]


@on_two
def test_known(installation: Installation, tmp_path: Path) -> None:
    """What the operator has acknowledged is counted and no finding, whatever its name;
    what is new is one, and so is all that can't be acknowledged."""
    change(
        installation.dsn, f"INSERT INTO prefixes (name, user_id) VALUES ('{P}', {ANN})"
    )
    strays = [f"{P}/no.name", f"{P}/new\nline", f"{P}/\u00e4 'b' \u202e"]
    for name in (*strays, "nobodys/a"):
        installation.storage.put(name, b"x")
    file = tmp_path / "known"
    file.write_text(f"# from the legacy server\n{P}/no.name")
    known = ("--known", str(file))
    before = installation.run("verify", *known)
    shown = {f"{P}/new\\u000aline", f"{P}/\u00e4 'b' \\u202e"}
    assert {one["name"] for one in before.of_kind("stray")} == shown
    assert "\u00e4 'b'" in before.out  # JSON in UTF-8
    assert (before.status, before.of_kind("verified")[0]["known"]) == (1, 1)
    assert installation.run("verify", *known, "--remember").status == 0
    assert file.read_text().startswith("# from the legacy server\n")
    installation.storage.put(f"{P}/unknown~{OLD}", b"x")
    installation.storage.put(f"{P}/no.name2", b"x")
    after = installation.run("verify", *known)
    assert _found(after.said) == {
        ("stray", f"{P}/no.name2"),
        ("unknown-blob", P, "unknown"),
    }
    assert (after.status, after.of_kind("verified")[0]["known"]) == (1, 4)


@on_sqlite
def test_known_in_no_file(local: Installation, tmp_path: Path) -> None:
    """A file that can't be used, or none to remember in, is one line and status 2."""
    for words, said in (
        (("--remember",), "--remember needs --known FILE"),
        (("--known", str(tmp_path)), f"--known: can't read {tmp_path}: Is a directory"),
    ):
        ended = local.run("verify", *words)
        assert (ended.status, ended.out) == (2, "")
        (line,) = ended.err.splitlines()
        assert said in line


@on_sqlite
@pytest.mark.parametrize("words", [("verify",), ("verify", "--repair")])
def test_wrong_storage(local: Installation, words: tuple[str, ...]) -> None:
    """Without its directory nothing is verified, and nothing found."""
    assert isinstance(local.storage, LegacyDirectory)
    local.storage.root.rmdir()
    ended = local.run(*words)
    assert (ended.status, ended.out) == (2, "")
    assert "qabel-block: storage: there is no directory" in ended.err
    assert not local.storage.root.exists()


def test_before_the_first_start(tmp_path: Path) -> None:
    """Before a server has made the directory of the objects that is what is said."""
    place = ("--standalone", str(tmp_path))
    assert run_tool("user", "add", "bob", *place).status == 0
    ended = run_tool("verify", *place, "--quiet")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"qabel-block: storage: there is no directory {tmp_path}/objects; the server"
        " makes it when it starts\n"
    )
