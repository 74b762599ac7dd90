"""Statements: written once, for both databases."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import psycopg2
import pytest
from sqlalchemy import bindparam, literal, select

from qabel_block import ledger
from qabel_block.ledger import garbage_queries
from qabel_block.ledger.sql import (
    SQLITE_AGO,
    RawStatement,
    Statement,
    time_stamp_ago,
)

STATEMENTS: dict[str, Statement] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in (
        import_module(f"{ledger.__name__}.{found.name}")
        for found in iter_modules(ledger.__path__)
    )
    for name, value in vars(module).items()
    if isinstance(value, Statement) and not isinstance(value, RawStatement)
}
NAMES = sorted(STATEMENTS)
POSTGRES_PARAMETER = r"%\((\w+)\)s"
SQLITE_PARAMETER = r":(\w+)"


def named(text: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, text))


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    """A statement takes the same parameters on both databases, all with names."""
    it = STATEMENTS[name]
    assert it.sqlite
    assert it.postgres.count("%") == it.postgres.count("%(")
    assert named(it.postgres, POSTGRES_PARAMETER) == set.union(
        *(named(text, SQLITE_PARAMETER) for text in it.sqlite)
    )


@pytest.mark.parametrize("name", NAMES)
def test_sqlite_understands(name: str, migrated_sqlite: Path) -> None:
    """SQLite can prepare every statement."""
    it = STATEMENTS[name]
    with closing(sqlite3.connect(migrated_sqlite)) as connection:
        connection.create_function(SQLITE_AGO, 1, time_stamp_ago)
        for text in it.sqlite:
            parameters = dict.fromkeys(named(text, SQLITE_PARAMETER), 1)
            assert connection.execute(f"EXPLAIN {text}", parameters).fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_postgres_understands(name: str, migrated_postgres: str) -> None:
    """PostgreSQL can plan every statement."""
    it = STATEMENTS[name]
    with closing(psycopg2.connect(migrated_postgres)) as connection:
        for text in it.postgres.split("; "):
            parameters = dict.fromkeys(named(text, POSTGRES_PARAMETER))
            cursor = connection.cursor()
            cursor.execute(f"EXPLAIN {text}", parameters)
            assert cursor.fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_postgres_prepares(name: str, migrated_postgres: str) -> None:
    """PostgreSQL can prepare every statement and plan it, whatever the values; what
    is prepared is the statement itself."""
    it = STATEMENTS[name]
    assert len(it.prepared) == len(it.postgres.split("; "))
    with closing(psycopg2.connect(migrated_postgres)) as connection:
        cursor = connection.cursor()
        for part, text in zip(it.prepared, it.postgres.split("; "), strict=True):
            parameters = dict.fromkeys(named(text, POSTGRES_PARAMETER))
            assert named(part.execute, POSTGRES_PARAMETER) == set(parameters)
            cursor.execute(part.prepare)
            cursor.execute(f"EXPLAIN {part.execute}", parameters)
            assert cursor.fetchall()


def test_constants_are_refused() -> None:
    """A constant that would have to be passed beside the text is a mistake."""
    assert Statement(select(bindparam("a"))).sqlite == ("SELECT :a AS anon_1",)
    with pytest.raises(ValueError, match="constants"):
        assert not Statement(select(literal(1))).sqlite


def test_several_parts() -> None:
    """Several statements go to PostgreSQL in one message, and to SQLite one by one."""
    it = Statement(select(bindparam("a")), lambda dialect: select(bindparam("b")))
    assert it.postgres == "SELECT %(a)s AS anon_1; SELECT %(b)s AS anon_1"
    assert it.sqlite == ("SELECT :a AS anon_1", "SELECT :b AS anon_1")


def test_claims_pass_by_what_is_locked() -> None:
    """Stale notes are locked where the database has row locks."""
    for it in (garbage_queries.stale_notes, garbage_queries.owner_notes):
        assert it.postgres.endswith("FOR UPDATE SKIP LOCKED")
        assert "FOR UPDATE" not in it.sqlite[0]
