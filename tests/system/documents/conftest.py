"""Where the documents' commands are run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from tests.support.accounting import AccountingDouble
from tests.support.documents import CommandsOf
from tests.support.postgres import NewDatabase, PostgresServer
from tests.support.shell import Shell
from tests.support.wheelhouse import copy_checkout

FIRST = "python3 -m venv .venv && .venv/bin/pip install . &&"


@pytest.fixture(scope="session")
def installed(
    tmp_path_factory: pytest.TempPathFactory, pip_environment: dict[str, str]
) -> Path:
    """A checkout in which somebody has followed the README's first command as far as
    the server is started; with the virtual environment ``.venv``."""
    clone = tmp_path_factory.mktemp("installed") / "clone"
    copy_checkout(clone)
    shell = Shell(tmp_path_factory.mktemp("home"))
    shell.environment.update(pip_environment)
    command = CommandsOf.document("README.md").take(FIRST)
    shell.run(command.partition(" && {")[0], folder=clone)
    return clone


@pytest.fixture
def accounting() -> Iterator[AccountingDouble]:
    """An accounting server that knows the token ``T``."""
    with AccountingDouble() as accounting:
        accounting.add_user("T", 1)
        yield accounting


@pytest.fixture
def reader(
    tmp_path: Path,
    accounting: AccountingDouble,
    own_postgres: PostgresServer,
    new_postgres_database: NewDatabase,
    redis_address: tuple[str, int],
) -> Shell:
    """A shell in which the documents' services are those of the tests."""
    dsn = new_postgres_database()
    parts = parse_dsn(dsn)
    host, port = redis_address
    shell = Shell(
        tmp_path,
        {
            "postgresql://user@localhost/qabel-block": '"$DSN"',
            "-h localhost -U user qabel-block": '-h "$DB_HOST" -U "$DB_USER" "$DB"',
            "/srv/qabel-block": f"{tmp_path}/srv",
            "/backup": f"{tmp_path}/backup",
            "/opt/qabel-block": f"{tmp_path}/opt",
            "https://accounting.example": accounting.url,
            "--redis-host localhost": f"--redis-host {host}",
        },
    )
    shell.environment.update(
        DSN=dsn,
        DB=parts["dbname"],
        DB_HOST=parts["host"],
        DB_USER=parts["user"],
        QABEL_BLOCK_REDIS_PORT=str(port),
        QABEL_BLOCK_APISECRET=accounting.secret,
    )
    shell.put_first(Path(own_postgres.program("psql")).parent)
    for name in ("srv", "backup"):
        (tmp_path / name).mkdir()
    return shell
