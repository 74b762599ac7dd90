"""Every command can be interrupted, or killed, and run again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import psycopg2
import pytest
from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from qabel_block.operations.collector import PENDING_SECONDS
from tests.integration.cli.conftest import Installation, on_sqlite
from tests.integration.ledger.support import age_garbage, change
from tests.support.database import query
from tests.support.legacy import LEGACY, LegacyDirectory
from tests.support.tools import COMMAND, RunningTool, run_tool, tool_environment

INTERRUPTED = "qabel-block: interrupted; run it again to go on\n"

COUNT = 5000
"""Several batches of whatever is done."""

VERSION = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@frozen
class Half:
    """What a command does, and how far it has come.

    :ivar prepare: makes something for it to do.
    :ivar done: tells how much of that is done.
    """

    words: tuple[str, ...]
    prepare: Callable[[Installation], None]
    done: Callable[[Installation], int]


def _one(installation: Installation, sql: str) -> int:
    ((found,),) = query(installation.dsn, sql)
    return int(found)


def _objects(installation: Installation) -> int:
    return _one(installation, "SELECT count(*) FROM objects")


def _deleted(installation: Installation) -> int:
    assert isinstance(installation.storage, LegacyDirectory)
    return COUNT - sum(1 for _ in installation.storage.root.glob("p/*"))


def _put(installation: Installation, suffix: str) -> None:
    assert isinstance(installation.storage, LegacyDirectory)
    folder = installation.storage.root / "p"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number}{suffix}").write_bytes(b"four")


def _legacy(installation: Installation) -> None:
    _put(installation, "")


def _unknown(installation: Installation) -> None:
    _put(installation, f"~{VERSION}")


def _garbage(installation: Installation) -> None:
    _unknown(installation)
    rows = ", ".join(
        f"('p/{number}~{VERSION}', '2001-01-01T00:00:00.000000+00:00')"
        for number in range(COUNT)
    )
    change(installation.dsn, f"INSERT INTO garbage (blob_key, since) VALUES {rows}")


HALVES = {
    "adopt": Half(("adopt",), _legacy, _objects),
    "rebuild": Half(("rebuild",), _unknown, _objects),
    "collect": Half(("collect",), _garbage, _deleted),
    "verify": Half(("verify", "--repair", "--grace", "0"), _unknown, _deleted),
}


@pytest.fixture
def half(request: pytest.FixtureRequest, local: Installation) -> Half:
    half = HALVES[request.param]
    change(local.dsn, "INSERT INTO prefixes (name, user_id) VALUES ('p', 7)")
    half.prepare(local)
    return half


def _stop_half_way(half: Half, local: Installation, number: int) -> tuple[int, str]:
    """Run a command until it has done something, but not all; return its status
    and what it said."""
    tool = RunningTool(*half.words, *local.places, "--quiet")
    deadline = time.monotonic() + 60
    while half.done(local) == 0:
        assert tool.process.poll() is None, tool.end()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    tool.process.send_signal(number)
    ended = tool.end()
    assert 0 < half.done(local) < COUNT
    return ended.status, ended.err


def _check_sizes(local: Installation) -> None:
    total = _one(local, "SELECT coalesce(sum(size), 0) FROM objects")
    assert _one(local, "SELECT coalesce(sum(size), 0) FROM users") == total


@pytest.mark.parametrize(
    ("half", "local"),
    [("adopt", "postgresql"), *((name, "sqlite") for name in HALVES)],
    indirect=True,
)
def test_killed(half: Half, local: Installation) -> None:
    """Killed half-way, a command has left everything in order; run again, it does
    the rest, except what was just being deleted: that is garbage for a while. And
    `verify` finds nothing."""
    status, _ = _stop_half_way(half, local, signal.SIGKILL)
    assert status == -signal.SIGKILL
    _check_sizes(local)
    assert local.run(*half.words).status == (1 if "--repair" in half.words else 0)
    if half.done is _deleted:
        age_garbage(local.dsn, PENDING_SECONDS)
        local.run("collect", "--grace", "0")
    assert half.done(local) == COUNT
    _check_sizes(local)
    ended = local.run("verify")
    assert (ended.status, ended.of_kind("verified")[0]["findings"]) == (0, 0)


@on_sqlite
@pytest.mark.parametrize(
    ("half", "number"),
    [
        ("adopt", signal.SIGINT),
        ("adopt", signal.SIGTERM),
        ("collect", signal.SIGINT),
        ("verify", signal.SIGINT),
    ],
    indirect=["half"],
)
def test_interrupted(half: Half, local: Installation, number: int) -> None:
    """A signal ends a command after what it is at, with status 2 and one line."""
    status, err = _stop_half_way(half, local, number)
    assert status == 2
    assert err == INTERRUPTED
    _check_sizes(local)


@on_sqlite
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_interrupted_at_the_question(local: Installation, terminal: bool) -> None:
    """A signal while a command asks ends it: it waits for no answer."""
    assert local.run("user", "add", "bob").status == 0
    theirs, ours = os.openpty()[::-1] if terminal else os.pipe()
    tool = subprocess.Popen(
        [*COMMAND, "user", "delete", "bob", *local.places],
        env=tool_environment(),
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tool.stderr is not None
    while tool.stderr.read(1) not in ("", ":"):
        pass  # until it asks
    time.sleep(0.2)
    tool.send_signal(signal.SIGINT)
    try:
        _, err = tool.communicate(timeout=10)
    finally:
        tool.kill()
        os.close(ours)
        os.close(theirs)
    assert (tool.returncode, err.strip(" ")) == (2, f"\n{INTERRUPTED}")
    assert local.run("user", "show", "bob").status == 0


@pytest.mark.parametrize(
    "words",
    [
        ("user", "list"),
        ("user", "set", "bob", "--quota", "1"),
        ("verify", "--local-storage", "/"),
        ("migrate", "--to", LEGACY),
    ],
    ids=" ".join,
)
def test_interrupted_while_the_database_hangs(
    words: tuple[str, ...], new_postgres_database: Callable[[], str]
) -> None:
    """A signal soon ends a command that waits for the database; nothing is changed."""
    dsn = new_postgres_database()
    upgrade(dsn)
    assert run_tool("user", "add", "bob", "--psql-dsn", dsn).status == 0
    before = query(dsn, "SELECT storage_quota FROM accounts")
    with closing(psycopg2.connect(dsn)) as other:
        other.cursor().execute("LOCK TABLE users, accounts, objects")
        tool = RunningTool(*words, "--psql-dsn", dsn)
        _wait_for_lock(dsn)
        began = time.monotonic()
        tool.process.send_signal(signal.SIGINT)
        ended = tool.end(10)
        assert time.monotonic() - began < 3
        assert (ended.status, ended.err) == (2, INTERRUPTED)
    assert query(dsn, "SELECT storage_quota FROM accounts") == before


def _wait_for_lock(dsn: str) -> None:
    """Wait until somebody waits for a lock."""
    deadline = time.monotonic() + 30
    while not query(dsn, "SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@on_sqlite
def test_interrupted_twice(local: Installation) -> None:
    """A step that can't be broken off is waited for, which is said; another signal
    ends that as well."""
    assert local.run("user", "add", "bob").status == 0
    path = local.dsn.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tool = RunningTool("user", "disable", "bob", *local.places)
        time.sleep(2)
        began = time.monotonic()
        for _ in range(2):
            tool.process.send_signal(signal.SIGINT)
            time.sleep(2)
        ended = tool.end(10)
        assert time.monotonic() - began < 5
    assert ended.status == 2
    assert ended.err == (
        "qabel-block: waiting for a step that can't be broken off; interrupt again to"
        " end at once\n"
    )
