"""What a request for a small object costs each part.

``python -m bench.costs`` puts load on one server and prints for each kind of request
the processor time of the server, of PostgreSQL and of Valkey, and what goes to and fro
between them. It needs ``wrk``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg2
import redis
from attrs import astuple, frozen

from bench.contest import AUTHORIZATION
from bench.processes import cpu_seconds
from bench.services import Services, services
from bench.wrk import Load, measure

SETTLED_SECONDS = 12
"""After which PostgreSQL has counted what it has done."""

SMALL = 1_000
BODY = 1024
_CELLS = "{:<28}" + "{:>12}" * 7 + "\n"


@frozen
class Spent:
    """What has been spent: seconds, transactions, commands, and bytes of
    PostgreSQL's log."""

    server: float
    database: float
    cache: float
    transactions: int
    commands: int
    logged: int


class Meter:
    """Reads what each part has spent.

    :param pid: the server's.
    """

    def __init__(self, around: Services, pid: int) -> None:
        self._pid = pid
        self._connection = psycopg2.connect(around.dsn)
        self._connection.autocommit = True
        self._cache = redis.Redis(port=around.valkey.port)
        status = Path(f"/proc/{self._connection.info.backend_pid}/status").read_text()
        self._database = int(status.partition("PPid:")[2].split()[0])

    def read(self) -> Spent:
        """Read all of it."""
        time.sleep(SETTLED_SECONDS)
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT xact_commit, pg_current_wal_lsn() - '0/0' FROM"
                " pg_stat_database WHERE datname = current_database()"
            )
            transactions, logged = cursor.fetchone()
        told = self._cache.info()
        return Spent(
            cpu_seconds(self._pid),
            cpu_seconds(self._database),
            told["used_cpu_user"] + told["used_cpu_sys"],
            int(transactions),
            told["total_commands_processed"],
            int(logged),
        )

    def close(self) -> None:
        """Let go of database and cache."""
        self._connection.close()
        self._cache.close()


def _loads(connections: int) -> dict[str, Load]:
    small = [f"/api/v0/files/small/{number}" for number in range(SMALL)]
    return {
        "GET 1 KiB": Load(paths=small, connections=connections),
        "POST 1 KiB": Load(
            "POST",
            connections,
            prefix="/api/v0/files/small/new/",
            body_size=BODY,
            headers=AUTHORIZATION,
        ),
    }


def _measure(around: Services, connections: int, seconds: int) -> None:
    with around.server() as server:
        meter = Meter(around, server.pid)
        for work, load in _loads(connections).items():
            measure(server.url, server.pid, load, 2)
            before = meter.read()
            seen = measure(server.url, server.pid, load, seconds)
            after = meter.read()
            spent = [
                (later - earlier) / seen.requests
                for later, earlier in zip(astuple(after), astuple(before), strict=True)
            ]
            times = [f"{1e6 * one:.0f} µs" for one in spent[:3]]
            counts = [f"{one:.2f}" for one in spent[3:5]]
            sys.stdout.write(
                _CELLS.format(
                    f"{work}, {connections} at a time",
                    f"{seen.rate:,.0f}/s",
                    *times,
                    *counts,
                    f"{spent[5]:,.0f} B",
                )
            )
            sys.stdout.flush()
        meter.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.costs", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of load")
    seconds = parser.parse_args().seconds
    sys.stdout.write(
        _CELLS.format(
            *("for each request", "rate", "server", "PostgreSQL", "Valkey"),
            *("transactions", "commands", "WAL"),
        )
    )
    with tempfile.TemporaryDirectory() as folder, services(Path(folder)) as around:
        around.add_prefixes({"small": 1})
        with around.server() as server, httpx.Client(headers=AUTHORIZATION) as client:
            for number in range(SMALL):
                url = f"{server.url}/api/v0/files/small/{number}"
                client.post(url, content=bytes(BODY)).raise_for_status()
        for connections in (1, 32):
            _measure(around, connections, seconds)


if __name__ == "__main__":
    main()
