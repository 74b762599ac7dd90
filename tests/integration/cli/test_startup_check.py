"""The server does not start on a database of another version."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.revisions import HEAD
from tests.integration.ledger.support import change
from tests.support.legacy import LEGACY, make_legacy_tables
from tests.support.postgres import NewDatabase, PostgresServer, databases_on
from tests.support.runners import RUNNERS, TWIST, Runner, run_to_the_end
from tests.support.server import ServerProcess
from tests.support.tools import run_tool
from tests.support.waiting import wait_for


def _refused(runner: Runner, dsn: str, tmp_path: Path, *options: str) -> str:
    storage = ("--local-storage", str(tmp_path / "objects"), "--port", "0")
    ended = run_to_the_end(runner, "--psql-dsn", dsn, *storage, *options)
    assert (ended.status, ended.out) == (78, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("qabel-block: database: ")
    return line


@RUNNERS
@pytest.mark.parametrize("revision", [None, LEGACY])
def test_not_migrated(
    runner: Runner, revision: str | None, empty_dsn: str, tmp_path: Path
) -> None:
    """On an empty database, or a legacy one, the server ends with one line that
    names the command. An empty file is one that is made."""
    sqlite = empty_dsn.startswith("sqlite")
    if revision:
        upgrade(empty_dsn, revision)
    elif sqlite:
        change(empty_dsn, "CREATE TABLE another (x INTEGER)")
    line = _refused(runner, empty_dsn, tmp_path)
    assert HEAD in line
    dsn = f" --psql-dsn {empty_dsn}" if sqlite else ""
    assert line.endswith(f"run: qabel-block migrate{dsn}")


def test_newer(dsn: str, tmp_path: Path) -> None:
    """If a newer version has migrated the database, the line says so."""
    change(dsn, "UPDATE alembic_version SET version_num = '0123456789ab'")
    line = _refused(TWIST, dsn, tmp_path)
    assert "0123456789ab" in line
    assert "newer" in line
    assert line.endswith("install that one")


@RUNNERS
def test_older_legacy(runner: Runner, empty_dsn: str, tmp_path: Path) -> None:
    """If the legacy server's own migrations are not finished, the line says so."""
    make_legacy_tables(empty_dsn)
    change(empty_dsn, "UPDATE alembic_version SET version_num = '0123456789ab'")
    line = _refused(runner, empty_dsn, tmp_path)
    assert "0123456789ab of the legacy server" in line
    assert line.endswith(f"own migrations bring it to revision {LEGACY} first")


def test_several_processes(new_postgres_database: NewDatabase, tmp_path: Path) -> None:
    """With several processes it is one line, too."""
    line = _refused(TWIST, new_postgres_database(), tmp_path, "--processes", "2")
    assert line.endswith("run: qabel-block migrate")


def test_sqlite_is_made(tmp_path: Path) -> None:
    """A SQLite ledger that is not there is made at the first start."""
    options = (
        *("--psql-dsn", f"sqlite:///{tmp_path / 'ledger'}", "--dummy-cache"),
        *("--local-storage", str(tmp_path / "objects"), "--dummy-auth", "T"),
    )
    with ServerProcess(*options) as server:
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        assert server.stop() == 0


def _standalone(runner: Runner, home: str) -> str:
    ended = run_to_the_end(runner, "--port", "0", "--standalone", home)
    assert (ended.status, ended.out) == (78, "")
    (line,) = ended.err.splitlines()
    assert home in line
    return line


@RUNNERS
def test_standalone_that_can_not_be(runner: Runner, tmp_path: Path) -> None:
    """A standalone directory that can't be made, holds another file or belongs to a
    newer version is one line that names it, never a traceback."""
    assert "can't be made" in _standalone(runner, "/proc/qabel-block")
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    change(dsn, "UPDATE alembic_version SET version_num = '0123456789ab'")
    assert "newer" in _standalone(runner, str(tmp_path))
    (tmp_path / "ledger.sqlite").write_text("remember the milk\n" * 100)
    assert "not a database" in _standalone(runner, str(tmp_path))


def test_standalone_upgrades_itself(tmp_path: Path) -> None:
    """A standalone server brings its own ledger to the newest schema."""
    (tmp_path / "home").mkdir()
    dsn = f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}"
    upgrade(dsn, LEGACY)
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options) as server:
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)


def test_down_at_the_start(own_postgres: PostgresServer, tmp_path: Path) -> None:
    """A server that starts while the database is down learns later that it is not
    migrated: `/readyz` says so in words, requests get 503, and once it is migrated
    all is well."""
    with databases_on(own_postgres.dsn) as new:
        dsn = new()
        own_postgres.stop()
        try:
            options = (
                *("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
                *("--dummy-auth", "T", "--dummy-cache"),
            )
            with ServerProcess(*options) as server:
                url = f"{server.url}/api/v0/files/p/a"
                auth = {"Authorization": "Token T"}
                assert httpx.get(f"{server.url}/readyz").status_code == 503
                own_postgres.start()
                ready = f"{server.url}/readyz"
                wait_for(lambda: "qabel-block migrate" in httpx.get(ready).text)
                assert httpx.get(ready).status_code == 503
                refused = httpx.post(url, content=b"x", headers=auth)
                assert refused.status_code == 503
                assert "Retry-After" in refused.headers
                assert run_tool("migrate", "--psql-dsn", dsn).status == 0
                wait_for(lambda: httpx.get(ready).status_code == 200)
                assert httpx.post(url, content=b"x", headers=auth).status_code == 204
        finally:
            own_postgres.start()


def test_silent_database(tmp_path: Path) -> None:
    """A database that takes connections and never answers doesn't keep the server
    from starting."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"
        options = (
            *("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
            *("--dummy-auth", "T", "--dummy-cache"),
        )
        with ServerProcess(*options) as server:
            assert httpx.get(f"{server.url}/healthz").status_code == 200
