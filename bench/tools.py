"""How fast ``qabel-block`` adopts, verifies and collects objects, and in how much
memory.

``python -m bench.tools`` builds a legacy installation with 100,000 small objects in a
temporary directory, on PostgreSQL (that waits for the disk) and on SQLite, runs each
command as an operator does, and prints a table. The time is that of the whole process.
Peak memory is shown beside that of the same command for a hundredth of the objects.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.postgres import PostgresServer, databases_on
from tests.support.tools import COMMAND, tool_environment

OBJECTS = 100_000
PREFIXES = 20
USERS = 5


@frozen
class Measured:
    """What one command took.

    :ivar seconds: from its start to its end.
    :ivar peak: bytes of memory at the most.
    """

    seconds: float
    peak: int


def _fill(root: Path, dsn: str, objects: int) -> None:
    """Store objects as the legacy server did."""
    chance = random.Random(1)
    prefixes = [str(UUID(int=number + 1)) for number in range(PREFIXES)]
    for prefix in prefixes:
        (root / prefix / "blocks").mkdir(parents=True)
    for number in range(objects):
        name = str(UUID(int=chance.getrandbits(128)))
        content = chance.randbytes(chance.randrange(200, 2000))
        (root / prefixes[number % PREFIXES] / "blocks" / name).write_bytes(content)
    rows = ", ".join(f"('{name}', {n % USERS})" for n, name in enumerate(prefixes))
    change(dsn, f"INSERT INTO prefixes (name, user_id) VALUES {rows}")


def _run(*words: str) -> Measured:
    began = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, *words, "--quiet"],
        env=tool_environment(),
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words[0]} ended with {status >> 8}")
    return Measured(time.monotonic() - began, used.ru_maxrss * 1024)


def _measure(dsn: str, objects: int) -> dict[str, Measured]:
    """Adopt, verify and collect so many objects."""
    root = Path(tempfile.mkdtemp(prefix="qabel-block-bench-"))
    try:
        _fill(root, dsn, objects)
        os.sync()
        places = ("--psql-dsn", dsn, "--local-storage", str(root))
        measured = {
            "adopt": _run("adopt", *places),
            "verify --no-read": _run("verify", "--no-read", *places),
            "verify --read": _run("verify", "--read", *places),
        }
        # As if clients had deleted all of them, long ago.
        change(
            dsn,
            "INSERT INTO garbage SELECT blob_key, '2001-01-01T00:00:00.000000+00:00'"
            " FROM objects",
            "DELETE FROM objects",
            "UPDATE users SET size = 0",
        )
        measured["collect"] = _run("collect", *places)
        assert query(dsn, "SELECT count(*) FROM garbage") == [(0,)]
        assert not any(path.is_file() for path in root.rglob("*"))
        return measured
    finally:
        shutil.rmtree(root)


@contextmanager
def _databases() -> Iterator[dict[str, list[str]]]:
    """Give two migrated databases of each kind."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer(durable=True) as server,
        databases_on(server.dsn) as new,
    ):
        databases = {
            "PostgreSQL": [new(), new()],
            "SQLite": [f"sqlite:///{folder}/{name}.sqlite" for name in "ab"],
        }
        for dsns in databases.values():
            for dsn in dsns:
                upgrade(dsn)
        yield databases


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=OBJECTS)
    objects = parser.parse_args().objects
    row = "{:<12}{:<18}{:>10}{:>12}{:>14}{:>14}\n".format
    write = sys.stdout.write
    write(row("ledger", "command", "seconds", "objects/s", "peak MiB", "of 1/100"))
    with _databases() as databases:
        for kind, (dsn, other) in databases.items():
            few = _measure(other, max(1, objects // 100))
            for command, it in _measure(dsn, objects).items():
                rate, peak = objects / it.seconds, it.peak / 2**20
                less = few[command].peak / 2**20
                cells = (f"{it.seconds:.1f}", f"{rate:,.0f}", f"{peak:.0f}")
                write(row(kind, command, *cells, f"{less:.0f}"))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
