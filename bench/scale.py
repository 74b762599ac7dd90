"""What a ledger with ten million rows does.

``python -m bench.scale`` fills a ledger, asks it, divides ``objects`` as
docs/scaling.md says and asks again, and collects garbage. It prints the figures of
that page, and needs 15 GB of disk.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import psycopg2
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.postgres.database import PostgresDatabase
from qabel_block.model import ObjectName, PendingBlob, WriteState
from qabel_block.names import Versions, blob_key
from tests.support.partitions import partition_statements
from tests.support.postgres import PostgresServer, databases_on

PREFIX_OBJECTS = 100
AT_ONCE = 32
ASKED = 20_000
"""Questions, and half as many changes."""

CLAIMED = 500
"""Blobs of a batch of the collector."""

MONTH = "2027-01-01"
MIB = 2**20

_PREFIX = f"md5('p' || n / {PREFIX_OBJECTS})::uuid::text"
_VERSION = "'01K' || upper(substr(md5('v' || n), 1, 23))"
_FILL = f"""
INSERT INTO users (user_id, size) SELECT n, {PREFIX_OBJECTS * 1024}
FROM generate_series(0, {{rows}} / {PREFIX_OBJECTS} - 1) n;
INSERT INTO prefixes (name, user_id, created) SELECT md5('p' || n)::uuid::text, n, now()
FROM generate_series(0, {{rows}} / {PREFIX_OBJECTS} - 1) n;
TRUNCATE objects;
ALTER TABLE objects DROP CONSTRAINT objects_pkey;
INSERT INTO objects (prefix, path, blob_key, size, etag, sha256, created)
SELECT prefix, 'blocks/' || n, prefix || '/blocks/' || n || '~' || version, 1024,
  '"' || version || '"', md5(version) || md5(prefix), now()
FROM (SELECT n, {_PREFIX} AS prefix, {_VERSION} AS version
  FROM generate_series(0, {{rows}} - 1) n) AS made;
ALTER TABLE objects ADD PRIMARY KEY (prefix, path);
"""
_GARBAGE = f"""
TRUNCATE garbage;
ALTER TABLE garbage DROP CONSTRAINT garbage_pkey;
DROP INDEX garbage_by_age, garbage_by_owner;
INSERT INTO garbage (blob_key, since, owner_id, size)
SELECT {_PREFIX} || '/replaced/' || n || '~' || {_VERSION},
  now() - interval '1 day' + n * interval '1 millisecond', n / {PREFIX_OBJECTS}, 1024
FROM generate_series(0, {{rows}} - 1) n;
ALTER TABLE garbage ADD PRIMARY KEY (blob_key);
CREATE INDEX garbage_by_age ON garbage (since);
CREATE INDEX garbage_by_owner ON garbage (owner_id, since);
"""
_SIZES = """
SELECT coalesce(sum(pg_table_size(c.oid)), 0), coalesce(sum(pg_indexes_size(c.oid)), 0)
FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '^{table}(_[0-9]+)?$'
"""


def _say(what: str, *figures: str) -> None:
    sys.stdout.write(f"{what:<58}{''.join(f'{one:>16}' for one in figures)}\n")
    sys.stdout.flush()


class Administration:
    """A connection beside the ledger's."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn)
        self._connection.autocommit = True

    def do(self, what: str, statements: str) -> None:
        """Execute something and say how long it took."""
        began = time.monotonic()
        with self._connection.cursor() as cursor:
            cursor.execute(statements)
        _say(what, f"{time.monotonic() - began:.1f} s")

    def say_sizes(self, table: str, rows: int) -> None:
        """Say how large a table is."""
        with self._connection.cursor() as cursor:
            cursor.execute(_SIZES.format(table=table))
            own, indexes = cursor.fetchone()
        _say(
            f"{table}: bytes a row, of the table and of its indexes",
            f"{own / rows:.0f}",
            f"{indexes / rows:.0f}",
        )

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


async def _time_each(
    what: str, asks: Sequence[Callable[[], Awaitable[object]]], at_once: int
) -> None:
    """Do something many times, so many at once; say the rate and the median time."""
    taken: list[float] = []
    left = iter(asks)

    async def work() -> None:
        for ask in left:
            began = time.monotonic()
            await ask()
            taken.append(time.monotonic() - began)

    began = time.monotonic()
    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(at_once)])
    rate = len(taken) / (time.monotonic() - began)
    median = statistics.median(taken) * 1e3
    _say(f"{what}, {at_once} at a time", f"{rate:,.0f}/s", f"{median:.2f} ms")


def _anything(_state: WriteState) -> None:
    pass


class Work:
    """What is asked of a ledger.

    :ivar names: of objects, in no order.
    """

    def __init__(self, ledger: Ledger, dsn: str, rows: int) -> None:
        self._ledger = ledger
        self._versions = Versions(time.time)
        numbers = Random(1).choices(range(rows), k=ASKED)
        connection = psycopg2.connect(dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {_PREFIX}, 'blocks/' || n FROM unnest(%s) n", (numbers,)
            )
            self.names = [ObjectName(*row) for row in cursor.fetchall()]
        connection.close()

    async def ask(self) -> None:
        """Look objects up, and replace some."""
        for at_once, share in ((1, 10), (AT_ONCE, 1)):
            names = self.names[: ASKED // share]
            await _time_each("look-up", [self._look_up(n) for n in names], at_once)
            names = names[: len(names) // 2]
            await _time_each("upload", [self._upload(n) for n in names], at_once)

    async def collect(self, what: str, batches: int) -> None:
        """Do what the collector does to the ledger."""
        taken = []
        for _ in range(batches):
            began = time.monotonic()
            keys = await self._ledger.claim_garbage(3600, CLAIMED)
            await self._ledger.forget_garbage(keys)
            taken.append(time.monotonic() - began)
        _say(
            f"{what}: a batch of {CLAIMED}, median and longest",
            f"{statistics.median(taken) * 1e3:.1f} ms",
            f"{max(taken) * 1e3:.1f} ms",
            f"{CLAIMED * batches / sum(taken):,.0f} blobs/s",
        )

    def _look_up(self, name: ObjectName) -> Callable[[], Awaitable[object]]:
        return lambda: self._ledger.find(name, MONTH)

    def _upload(self, name: ObjectName) -> Callable[[], Awaitable[object]]:
        async def upload() -> None:
            version = self._versions.next()
            key = blob_key(name, version)
            await self._ledger.note_blob(key)
            blob = PendingBlob(key, 1024, f'"{version}"', "0" * 64)
            await self._ledger.commit_upload(name, blob, _anything, None)

        return upload


async def _measure(reactor: Any, dsn: str, rows: int) -> None:
    database = PostgresDatabase(reactor, dsn)
    await database.start()
    administration = Administration(dsn)
    # For a clock that stands still nothing takes too long.
    work = Work(Ledger(database, lambda: 0.0), dsn, rows)
    await work.ask()
    administration.do("divide objects, all together", partition_statements())
    administration.do("VACUUM ANALYZE of 16 partitions", "VACUUM ANALYZE objects")
    administration.say_sizes("objects", rows)
    await work.ask()
    administration.do(
        "change every tenth object",
        "UPDATE objects SET created = now() WHERE path LIKE '%7'",
    )
    administration.do("VACUUM of all partitions after that", "VACUUM objects")
    administration.do(f"note {rows:,} blobs", _GARBAGE.format(rows=rows))
    administration.do("VACUUM ANALYZE garbage", "VACUUM ANALYZE garbage")
    administration.say_sizes("garbage", rows)
    await work.ask()
    await work.collect("collect, the first", 50)
    await work.collect("collect, a tenth of all", rows // 10 // CLAIMED)
    await work.collect("collect, not vacuumed", 50)
    administration.do("VACUUM garbage, a tenth of it dead", "VACUUM garbage")
    await work.collect("collect, vacuumed", 50)
    administration.close()
    await database.close()


@contextmanager
def _filled(rows: int) -> Iterator[str]:
    """Give a ledger with so many objects."""
    with (
        PostgresServer(durable=True) as postgres,
        databases_on(postgres.dsn) as new_database,
    ):
        postgres_settings = Administration(postgres.dsn)
        for setting in (
            "max_wal_size = '8GB'",
            "wal_level = minimal",  # tables that are made are not logged
            "max_wal_senders = 0",
            "maintenance_work_mem = '1GB'",
            "shared_buffers = '1GB'",
        ):
            postgres_settings.do(setting, f"ALTER SYSTEM SET {setting}")
        postgres_settings.close()
        postgres.stop()
        postgres.start()
        dsn = new_database()
        upgrade(dsn)
        administration = Administration(dsn)
        administration.do(f"make {rows:,} objects", _FILL.format(rows=rows))
        administration.do("VACUUM ANALYZE", "VACUUM ANALYZE")
        administration.say_sizes("objects", rows)
        administration.close()
        yield dsn


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with _filled(rows) as dsn:
        task.react(lambda reactor: Deferred.fromCoroutine(_measure(reactor, dsn, rows)))


if __name__ == "__main__":
    main()
