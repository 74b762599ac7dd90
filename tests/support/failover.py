"""Parts that lose their role for a while, as they do when another one takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import parse_dsn

from tests.support.ports import free_port
from tests.support.postgres import administration
from tests.support.valkey import ValkeyServer


@contextmanager
def read_only(dsn: str) -> Iterator[None]:
    """Let a PostgreSQL database take no changes.

    Who is connected is cut off, as by a primary that is demoted. Sessions that are
    opened meanwhile stay read-only afterwards.
    """
    name = parse_dsn(dsn)["dbname"]
    setting = f'ALTER DATABASE "{name}" {{}} default_transaction_read_only'
    with administration(dsn) as cursor:
        cursor.execute(f"{setting.format('SET')} = on")
        try:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )
            yield
        finally:
            cursor.execute(setting.format("RESET"))


@contextmanager
def demoted(server: ValkeyServer) -> Iterator[None]:
    """Let a Valkey be the replica of one that can't be reached."""
    with server.client as client:
        client.replicaof("127.0.0.1", str(free_port()))
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")
