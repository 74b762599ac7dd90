"""What the server needs around it, each of it real, and as durable as in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from attrs import frozen
from psycopg2.extras import execute_values

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.postgres import PostgresServer, databases_on
from tests.support.server import PLUGIN, ServerProcess
from tests.support.valkey import ValkeyServer

TOKEN = "the-token-of-user-1"


@frozen
class Services:
    """Database, cache and accounting server, and where files are kept."""

    dsn: str
    valkey: ValkeyServer
    accounting: AccountingDouble
    directory: Path

    def server(
        self,
        *options: str,
        storage: bool = True,
        builtin: bool = False,
        environment: dict[str, str] | None = None,
    ) -> ServerProcess:
        """Return a server, not yet started, as its users run it.

        :param storage: whether it keeps files in the directory; if not, the options
            say where.
        :param builtin: whether users are in the ledger.
        """
        accounts = (
            ("--accounts", "builtin")
            if builtin
            else ("--accounting-host", self.accounting.url)
        )
        local = ("--local-storage", str(self.directory)) if storage else ()
        return ServerProcess(
            *("--psql-dsn", self.dsn, *local),
            *("--redis-host", "127.0.0.1", "--redis-port", str(self.valkey.port)),
            *accounts,
            *options,
            environment={
                **(
                    {} if builtin else {"QABEL_BLOCK_APISECRET": self.accounting.secret}
                ),
                **(environment or {}),
            },
            command=PLUGIN,
        )

    def blob_files(self, prefix: str) -> list[str]:
        """Return the files in which blobs of a prefix are, by storage directory."""
        return sorted(
            str(path.relative_to(self.directory))
            for path in (self.directory / prefix).rglob("*")
            if path.is_file()
        )

    def add_prefixes(self, owners: dict[str, int]) -> None:
        """Give users their prefixes, without asking the server."""
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            execute_values(
                cursor,
                "INSERT INTO users (user_id) VALUES %s ON CONFLICT DO NOTHING",
                [(owner,) for owner in set(owners.values())],
            )
            execute_values(
                cursor,
                "INSERT INTO prefixes (name, user_id, created) VALUES %s",
                list(owners.items()),
                template="(%s, %s, now())",
            )

    def add_accounts(self, users: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Make users of built-in accounts.

        :param users: each one's ID, and the SHA-256 of each token.
        """
        users = list(users)
        tokens = [
            (user_id, number, sha256)
            for user_id, digests in users
            for number, sha256 in enumerate(digests, 1)
        ]
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            execute_values(
                cursor,
                "INSERT INTO accounts"
                " (user_id, name, storage_quota, traffic_quota, created) VALUES %s",
                [(user_id, f"user-{user_id}") for user_id, _ in users],
                template=f"(%s, %s, {2**50}, {2**50}, now())",
            )
            execute_values(
                cursor,
                "INSERT INTO tokens"
                " (user_id, id, sha256, permission, label, created) VALUES %s",
                tokens,
                template="(%s, %s, %s, 'full', '', now())",
            )

    def copy_object(self, source: str, names: Iterable[tuple[str, str]]) -> None:
        """Let many objects share the blob of one.

        :param source: the prefix of which the object ``0`` is copied.
        :param names: prefix and path of each; what is there is left alone.
        """
        with psycopg2.connect(self.dsn) as connection, connection.cursor() as cursor:
            execute_values(
                cursor,
                "INSERT INTO objects"
                " SELECT n.prefix, n.path, o.blob_key, o.size, o.etag, o.sha256, now()"
                " FROM objects o, (VALUES %s) AS n (prefix, path)"
                f" WHERE o.prefix = '{source}' AND o.path = '0'"
                " ON CONFLICT DO NOTHING",
                names,
                page_size=10_000,
            )

    def vacuum(self) -> None:
        """Do what the database does by itself sooner or later."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        connection.cursor().execute("VACUUM ANALYZE")
        connection.close()


@contextmanager
def services(directory: Path) -> Iterator[Services]:
    """Start everything but the server.

    The database waits for the disk before it says that it has committed.
    """
    valkey = ValkeyServer()
    valkey.start()
    with (
        PostgresServer(durable=True) as postgres,
        databases_on(postgres.dsn) as new_database,
        AccountingDouble() as accounting,
    ):
        accounting.add_user(TOKEN, 1)
        dsn = new_database()
        upgrade(dsn)
        try:
            yield Services(dsn, valkey, accounting, directory)
        finally:
            valkey.stop()
