"""The way of a database to the newest schema, and back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2.extensions import parse_dsn
from sqlalchemy.exc import DatabaseError

from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import connected, downgrade, upgrade
from qabel_block.ledger.revisions import HEAD, REVISIONS
from qabel_block.ledger.schema import metadata
from qabel_block.model import TrafficCount, WriteState
from tests.integration.ledger.conftest import database_at
from tests.integration.ledger.support import (
    OWNER,
    MovableTime,
    P,
    change,
    name,
    overwrite,
)
from tests.support.database import query
from tests.support.legacy import LEGACY, make_legacy_tables
from tests.support.tools import RunningTool

CHECKOUT = Path(__file__).parents[3]

LEGACY_PREFIXES = [f"{number * 7919 % 997:036d}" for number in range(500)]


def make_legacy(dsn: str) -> None:
    """Build what the legacy server leaves behind, without Alembic's help."""
    rows = ", ".join(f"('{prefix}', {OWNER})" for prefix in LEGACY_PREFIXES)
    make_legacy_tables(dsn)
    change(
        dsn,
        f"INSERT INTO users (user_id, size) VALUES ({OWNER}, 0), (99, NULL)",
        f"INSERT INTO prefixes VALUES {rows}",
        f"INSERT INTO traffic VALUES ({OWNER}, '2027-01-01', 5)",
    )


def shape(dsn: str, kind: str) -> list[Any]:
    """Return everything that a schema consists of, in the database's own words."""
    if kind == "sqlite":
        return query(
            dsn,
            "SELECT name, sql FROM sqlite_master"
            " WHERE tbl_name <> 'alembic_version' ORDER BY name",
        )
    columns = query(
        dsn,
        "SELECT table_name, column_name, data_type, character_maximum_length,"
        " is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
    constraints = query(
        dsn,
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY conname",
    )
    indexes = query(
        dsn, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    )
    return [*columns, *constraints, *indexes]


def test_revisions() -> None:
    """The list of revisions is that of the migrations."""
    walked = ScriptDirectory(str(CHECKOUT / "migrations")).walk_revisions()
    assert tuple(script.revision for script in walked) == REVISIONS


def alembic(dsn: str, *command: str) -> str:
    """Run Alembic as an operator does."""
    result = subprocess.run(
        [sys.executable, "-m", "alembic", "-x", f"url={dsn}", *command],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ""},
    )
    return result.stdout


@pytest.fixture
def legacy_dsn(empty_dsn: Callable[[], str]) -> str:
    """A database of the legacy server."""
    dsn = empty_dsn()
    make_legacy(dsn)
    return dsn


def revision(dsn: str) -> str:
    ((found,),) = query(dsn, "SELECT version_num FROM alembic_version")
    return str(found)


def test_first_revision(
    empty_dsn: Callable[[], str], legacy_dsn: str, kind: str
) -> None:
    """The first revision makes exactly what the legacy server left behind."""
    dsn = empty_dsn()
    upgrade(dsn, LEGACY)
    assert revision(dsn) == LEGACY
    assert shape(dsn, kind) == shape(legacy_dsn, kind)


def test_from_empty_and_from_legacy(
    empty_dsn: Callable[[], str], legacy_dsn: str, kind: str
) -> None:
    """An empty and a legacy database end up with the same schema."""
    dsn = empty_dsn()
    upgrade(dsn)
    upgrade(legacy_dsn)
    assert revision(dsn) == revision(legacy_dsn) == HEAD != LEGACY
    assert shape(dsn, kind) == shape(legacy_dsn, kind)


def test_description_is_true(dsn: str) -> None:
    """The tables that statements are written for are those that revisions make."""
    with connected(dsn) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []


def test_upgrade_twice(dsn: str) -> None:
    """Bringing a database to the schema it has changes nothing."""
    change(dsn, "INSERT INTO users (user_id, size) VALUES (1, 5)")
    upgrade(dsn)
    assert query(dsn, "SELECT user_id, size FROM users") == [(1, 5)]


@pytest_twisted.ensureDeferred
async def test_legacy_data(legacy_dsn: str) -> None:
    """A legacy database goes on where it was: owners, the order of their prefixes,
    sizes and traffic. What is stored is still to be adopted."""
    upgrade(legacy_dsn)
    database = database_at(legacy_dsn)
    await database.start()
    await database.check()
    ledger = Ledger(database, MovableTime())
    assert await ledger.prefixes(OWNER) == LEGACY_PREFIXES
    await ledger.create_prefix(OWNER, P)
    assert await ledger.prefixes(OWNER) == [*LEGACY_PREFIXES, P]
    await ledger.create_prefix(99, "young")
    assert await ledger.write_state(name("a", "young")) == WriteState(
        99, 0, None, adopting=True
    )
    await overwrite(ledger, name("a"), 7)
    await ledger.add_traffic([TrafficCount(OWNER, "2027-01-01", 2)])
    found = await ledger.find(name("a"), "2027-01-01")
    assert found is not None
    assert found.traffic == 7
    await database.close()


def test_down_and_up_again(legacy_dsn: str, kind: str) -> None:
    """Going back leaves the legacy schema with its data, and the way up is open
    again."""
    before = shape(legacy_dsn, kind)
    upgrade(legacy_dsn)
    change(
        legacy_dsn,
        "INSERT INTO garbage (blob_key, since)"
        " VALUES ('p/a', '2027-01-15T08:00:00.000000+00:00')",
        f"UPDATE users SET size = 9 WHERE user_id = {OWNER}",
    )
    downgrade(legacy_dsn, LEGACY)
    assert revision(legacy_dsn) == LEGACY
    assert shape(legacy_dsn, kind) == before
    rows = query(legacy_dsn, f"SELECT name FROM prefixes WHERE user_id = {OWNER}")
    assert {name for (name,) in rows} == set(LEGACY_PREFIXES)
    assert query(legacy_dsn, f"SELECT size FROM users WHERE user_id = {OWNER}") == [
        (9,)
    ]
    upgrade(legacy_dsn)
    assert query(legacy_dsn, "SELECT * FROM garbage") == []
    downgrade(legacy_dsn, "base")
    assert query(legacy_dsn, "SELECT * FROM alembic_version") == []


@pytest.mark.parametrize("day", ["2027-01-02", "2027-01-31"])
def test_months(dsn: str, day: str) -> None:
    """Traffic is of a month, named by its first day, in legacy's table as well."""
    with pytest.raises(Exception, match="traffic_month_constraint"):
        change(dsn, f"INSERT INTO traffic VALUES (1, '{day}', 1)")
    change(dsn, "INSERT INTO traffic VALUES (1, '2027-01-01', 1)")


def test_failure_changes_nothing(legacy_dsn: str, kind: str) -> None:
    """An upgrade that fails half-way leaves the database as it was."""
    change(legacy_dsn, "CREATE TABLE garbage (in_the_way INTEGER)")
    before = shape(legacy_dsn, kind)
    with pytest.raises(DatabaseError):
        upgrade(legacy_dsn)
    assert shape(legacy_dsn, kind) == before
    assert revision(legacy_dsn) == LEGACY


def test_nodes_at_once(empty_dsn: Callable[[], str]) -> None:
    """Nodes that migrate the same database at the same time don't get in each
    other's way."""
    dsn = empty_dsn()
    tools = [RunningTool("migrate", "--psql-dsn", dsn) for _ in range(4)]
    assert [tool.end().status for tool in tools] == [0] * 4
    assert revision(dsn) == HEAD


def test_command_line(legacy_dsn: str) -> None:
    """``alembic -x url=DSN upgrade head`` works from a checkout, and back."""
    alembic(legacy_dsn, "upgrade", "head")
    assert revision(legacy_dsn) == HEAD
    alembic(legacy_dsn, "downgrade", LEGACY)
    assert revision(legacy_dsn) == LEGACY


def test_command_line_without_url() -> None:
    """Without a DSN the command says what is missing."""
    result = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode != 0
    assert "-x url=DSN" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_forms_of_dsns(empty_dsn: Callable[[], str]) -> None:
    """A libpq connection string does as well as a URL, with whatever libpq takes."""
    parts = parse_dsn(empty_dsn())
    options = "-c search_path=public -c application_name=100%"
    text = " ".join(f"{key}='{value}'" for key, value in parts.items())
    alembic(f"{text} options='{options}'", "upgrade", "head")
    host = parts["host"].replace("/", "%2F")
    url = f"postgresql://{parts['user']}@{host}/{parts['dbname']}"
    assert revision(url) == HEAD
    alembic(url, "downgrade", LEGACY)
    upgrade(url)
    assert revision(text) == HEAD


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_script_for_an_administrator(legacy_dsn: str) -> None:
    """``--sql`` prints what an administrator may run instead, and changes nothing."""
    script = alembic(legacy_dsn, "upgrade", f"{LEGACY}:head", "--sql")
    assert revision(legacy_dsn) == LEGACY
    connection = psycopg2.connect(legacy_dsn)
    connection.autocommit = True
    connection.cursor().execute(script)
    connection.close()
    assert revision(legacy_dsn) == HEAD


def test_paths_with_odd_characters(tmp_path: Path) -> None:
    """A checkout and a file may lie below any folder."""
    folder = tmp_path / "100% a b"
    folder.mkdir()
    for part in ("qabel_block", "migrations", "alembic.ini"):
        (folder / part).symlink_to(CHECKOUT / part)
    dsn = f"sqlite:///{folder / 'ledger 100%.sqlite'}"
    script = "import sys; from qabel_block.ledger.migrate import upgrade"
    subprocess.run(
        [sys.executable, "-c", f"{script}; upgrade(sys.argv[1])", dsn],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
    )
    assert revision(dsn) == HEAD
