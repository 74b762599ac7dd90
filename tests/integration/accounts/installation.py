"""A server with built-in accounts, and the commands beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from attrs import field, frozen

from qabel_block.ledger.migrate import upgrade
from tests.support.legacy import LegacyBucket, LegacyDirectory, LegacyStorage
from tests.support.s3 import store_named
from tests.support.server import ServerProcess
from tests.support.tools import Ended, run_tool


@frozen
class Installation:
    """A server, and the options of the commands beside it.

    :ivar places: the options.
    """

    server: ServerProcess
    places: tuple[str, ...]
    dsn: str
    storage: LegacyStorage = field(repr=False)

    def run(self, *words: str) -> Ended:
        return run_tool(
            *words[:2],
            *self.places,
            "--quiet",
            *words[2:],
            environment=self.storage.environment,
        )

    def token(self, *words: str) -> str:
        ended = self.run(*words)
        assert ended.status == 0, ended.err
        return ended.out.strip()

    def clients(self, token: str, count: int = 4) -> list[httpx.Client]:
        """Return clients with connections of their own, to whatever processes."""
        return [
            httpx.Client(
                base_url=self.server.url,
                headers={"Authorization": f"Token {token}"},
                timeout=60,
            )
            for _ in range(count)
        ]


@contextmanager
def new_installation(
    request: pytest.FixtureRequest, home: Path
) -> Iterator[Installation]:
    """Run one process on SQLite, or two on PostgreSQL.

    :param request: of a fixture whose parameter names the kinds of database and
        storage.
    """
    ledger, kind = request.param.split(", ")
    options: tuple[str, ...] = ("--trusted-proxy", "127.0.0.1")
    if ledger == "sqlite":
        places: tuple[str, ...] = ("--standalone", str(home / "data"))
        dsn = f"sqlite:///{home / 'data' / 'ledger.sqlite'}"
        storage: LegacyStorage = LegacyDirectory(home / "data" / "objects")
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        host, port = request.getfixturevalue("redis_address")
        dsn, storage = new(), _storage(kind, request, home)
        upgrade(dsn)
        places = ("--psql-dsn", dsn, *storage.options)
        options = (
            *options,
            *("--redis-host", host, "--redis-port", str(port)),
            *("--accounts", "builtin", "--processes", "2", "--log-to-stderr"),
        )
    server = ServerProcess(*places, *options, environment=storage.environment)
    with server:
        yield Installation(server, places, dsn, storage)


def _storage(kind: str, request: pytest.FixtureRequest, home: Path) -> LegacyStorage:
    if kind == "local":
        directory = home / "objects"
        directory.mkdir()
        return LegacyDirectory(directory)
    return LegacyBucket(store_named(kind, request).new_bucket())


def new_prefix(client: httpx.Client) -> str:
    """Let a client's user have a new prefix."""
    return str(client.post("/api/v0/prefix/").json()["prefix"])


def url_of(prefix: str, path: str) -> str:
    """Return where an object is."""
    return f"/api/v0/files/{prefix}/{path}"
