"""``qabel-block repository``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.ledger.support import change
from tests.integration.restic.client import RepositoryClient, id_of
from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.tools import Ended, run_tool

BODIES = [b"%d" % number * 100 for number in range(5)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standalone")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerProcess]:
    options = ("--standalone", str(home), "--dummy-auth", "T")
    with ServerProcess(*options) as server:
        yield server


def fill(server: ServerProcess, name: str, *kinds: str) -> None:
    """Make a repository with some files of each type."""
    client = RepositoryClient(server.url, "T", name)
    client.create()
    for kind in kinds:
        for body in BODIES:
            assert client.store(kind, body).status_code == 200
    client.close()


def run(home: Path, *words: str) -> Ended:
    return run_tool("repository", *words, "--standalone", str(home), "--json")


def listed(home: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Return what is said of each repository."""
    ended = run(home, "list", *words)
    assert ended.status == 0, ended
    return {entry.pop("repository"): entry for entry in ended.of_kind("repository")}


def test_list(home: Path, server: ServerProcess) -> None:
    """Each repository is listed with what it holds, and its last snapshot's time."""
    fill(server, "empty")
    fill(server, "some", "data", "snapshots")
    found = listed(home)
    size = 2 * sum(map(len, BODIES))
    assert found["empty"] == {
        "user": "0",
        "files": 0,
        "size": 0,
        "last_snapshot": None,
    }
    assert found["some"]["files"] == 10
    assert found["some"]["size"] == size
    assert found["some"]["last_snapshot"].startswith("20")
    assert listed(home, "0") == found
    assert listed(home, "1") == {}
    out = run_tool("repository", "list", "--standalone", str(home)).out
    assert "last snapshot" in out
    assert "never" in out


def test_delete(home: Path, server: ServerProcess) -> None:
    """A repository is deleted with all its files, at once; others stay."""
    fill(server, "gone", "data", "keys")
    fill(server, "stays", "data")
    database = f"sqlite:///{home / 'ledger.sqlite'}"
    ((prefix,),) = query(
        database, "SELECT prefix FROM repositories WHERE name = 'gone'"
    )
    blobs = home / "objects" / prefix
    assert any(blobs.rglob("*"))
    ended = run(home, "delete", "0", "gone", "--yes")
    assert ended.status == 0, ended
    (deleted,) = ended.of_kind("repository-deleted")
    assert deleted == {
        "user": "0",
        "repository": "gone",
        "files": 10,
        "bytes": 2 * sum(map(len, BODIES)),
    }
    assert not blobs.exists()
    assert query(database, f"SELECT * FROM prefixes WHERE name = '{prefix}'") == []
    assert query(database, "SELECT * FROM garbage") == []
    found = listed(home)
    assert "gone" not in found
    assert found["stays"]["files"] == 5
    quota = httpx.get(
        f"{server.url}/api/v0/quota/", headers={"Authorization": "Token T"}
    )
    assert quota.json()["size"] == sum(entry["size"] for entry in found.values())
    fill(server, "gone")  # the name is free
    assert listed(home)["gone"]["files"] == 0


def test_attach(home: Path, server: ServerProcess) -> None:
    """A repository that the ledger has lost, of which storage keeps no name, gets a
    name again, and by `rebuild` all its files."""
    fill(server, "taken", "data")
    fill(server, "lost", "data", "keys")
    database = f"sqlite:///{home / 'ledger.sqlite'}"
    ((prefix,),) = query(
        database, "SELECT prefix FROM repositories WHERE name = 'lost'"
    )

    def attach(name: str, where: str) -> Ended:
        return run(home, "attach", "0", name, where)

    assert "the ledger knows" in attach("found", prefix).err
    change(
        database,
        f"UPDATE users SET size = size - {2 * sum(map(len, BODIES))}",
        *(
            f"DELETE FROM {table} WHERE {column} = '{prefix}'"
            for table, column in (
                ("objects", "prefix"),
                ("prefixes", "name"),
                ("repositories", "prefix"),
            )
        ),
    )
    rebuild = ("rebuild", "--standalone", str(home), "--json")
    assert {"prefix": prefix} in run_tool(*rebuild).of_kind("unknown-prefix")
    for name, where, line in (
        ("taken", prefix, "0 has a repository taken already"),
        ("found", "nothing-there", "storage holds nothing below nothing-there"),
        ("no/name", prefix, "not a name of a repository: no/name"),
        ("found", "no.prefix", "not a prefix: no.prefix"),
    ):
        ended = attach(name, where)
        assert ended.status > 0
        assert line in ended.err
        assert len(ended.err.splitlines()) == 1
    attached = attach("found", prefix)
    assert attached.of_kind("repository-attached") == [
        {"user": "0", "repository": "found", "prefix": prefix}
    ]
    assert run_tool(*rebuild).of_kind("rebuilt")[0]["objects"] == 2 * len(BODIES)
    client = RepositoryClient(server.url, "T", "found")
    assert client.get(f"data/{id_of(BODIES[3])}").content == BODIES[3]
    client.close()


def test_refusals(home: Path, server: ServerProcess) -> None:
    """What is not there, or not confirmed, is not deleted; one line says so."""
    fill(server, "kept", "data")
    for words, status, line in (
        (("delete", "0", "kept"), 2, "not confirmed: nothing is deleted"),
        (("delete", "0", "other", "--yes"), 1, "0 has no repository other"),
        (("delete", "bob", "kept", "--yes"), 1, "there is no user bob"),
        (("list", "bob"), 1, "there is no user bob"),
        (("list", "0", "kept"), 2, "repository list takes only options"),
        (("delete", "0"), 2, "REPOSITORY"),
    ):
        ended = run(home, *words)
        assert ended.status == status
        assert line in ended.err
        assert len(ended.err.splitlines()) == 1
    assert listed(home)["kept"]["files"] == 5


def test_names(home: Path, server: ServerProcess) -> None:
    """Users of built-in accounts are known by their names."""
    fill(server, "named")
    database = f"sqlite:///{home / 'ledger.sqlite'}"
    change(
        database,
        "INSERT INTO accounts (user_id, name, storage_quota, traffic_quota, created)"
        " VALUES (0, 'alice', 1, 1, '2026-01-01T00:00:00.000000+00:00')",
    )
    assert listed(home, "alice")["named"]["user"] == "alice"
    assert listed(home)["named"]["user"] == "alice"
    change(database, "DELETE FROM accounts")
