"""``user delete`` beside a serving server, killed again and again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event

import httpx
import pytest

from qabel_block.storage.local.layout import file_of
from tests.integration.accounts.installation import (
    Installation,
    new_installation,
    new_prefix,
    url_of,
)
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.legacy import LegacyBucket, LegacyDirectory
from tests.support.tools import RunningTool, run_tool

IN_FULL = os.environ.get("QABEL_BLOCK_TEST_ERASED")
"""How many objects the user has who is deleted; 100,000 in full."""

LIMIT_SECONDS = 600.0
CONTENT = b"four"
SHA256 = "04efaf080f5a3e74e1c29d1ca6a48569382cbbcd324e8d59d2b83ef21c039f00"
VERSION = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(
    params=["postgresql, local", "sqlite, local", "postgresql, seaweedfs-http"]
)
def installation(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Installation]:
    """One process on SQLite, or two on PostgreSQL."""
    with new_installation(request, tmp_path) as installation:
        yield installation


def _fill(installation: Installation, prefixes: Sequence[str], objects: int) -> None:
    """Put objects into storage and ledger, as uploads leave them there."""
    names = [(prefixes[n % len(prefixes)], f"blocks/{n}") for n in range(objects)]
    storage = installation.storage

    def put(name: tuple[str, str]) -> None:
        key = f"{'/'.join(name)}~{VERSION}"
        local = isinstance(storage, LegacyDirectory)
        storage.put("/".join(file_of(key)) if local else key, CONTENT)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, names))
    rows = ", ".join(
        f"('{prefix}', '{path}', '{prefix}/{path}~{VERSION}', {len(CONTENT)},"
        f""" '"{VERSION}"', '{SHA256}', '2026-01-01T00:00:00.000000+00:00')"""
        for prefix, path in names
    )
    change(
        installation.dsn,
        "INSERT INTO objects (prefix, path, blob_key, size, etag, sha256, created)"
        f" VALUES {rows}",
        f"UPDATE users SET size = size + {objects * len(CONTENT)} WHERE user_id ="
        f" (SELECT user_id FROM prefixes WHERE name = '{prefixes[0]}')",
    )


@contextmanager
def _uploading(client: httpx.Client, prefix: str) -> Iterator[Future[set[int]]]:
    """Upload one object after the other meanwhile, until one is refused; the future
    has all statuses. One is stored before."""
    begun, ended = Event(), Event()

    def upload() -> set[int]:
        statuses = set()
        for number in count():
            url = url_of(prefix, f"own-{number % 50}")
            status = client.post(url, content=b"%d" % number).status_code
            statuses.add(status)
            begun.set()
            if status != 204 or ended.wait(0.01):
                return statuses
        raise AssertionError("never reached")

    with ThreadPoolExecutor(1) as thread:
        uploading = thread.submit(upload)
        try:
            assert begun.wait(60)
            yield uploading
        finally:
            ended.set()


def _stored(installation: Installation, prefixes: Sequence[str]) -> int:
    """Return how many blobs storage has below some prefixes."""
    storage = installation.storage
    if isinstance(storage, LegacyBucket):
        return sum(len(storage.bucket.keys(f"{prefix}/")) for prefix in prefixes)
    assert isinstance(storage, LegacyDirectory)
    folders = [storage.root / prefix for prefix in prefixes]
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))


def _kept(installation: Installation, prefixes: Sequence[str]) -> int:
    """Return how many objects the ledger has below some prefixes."""
    names = ", ".join(f"'{prefix}'" for prefix in prefixes)
    sql = f"SELECT count(*) FROM objects WHERE prefix IN ({names})"
    return int(query(installation.dsn, sql)[0][0])


def _kill_on_its_way(
    installation: Installation, words: Sequence[str], left: Callable[[], int]
) -> None:
    """Run a command until there is less left than before, and kill it."""
    before = left()
    tool = RunningTool(*words, environment=installation.storage.environment)
    while left() >= before:
        assert tool.process.poll() is None, tool.end()
        time.sleep(0.02)
    tool.process.kill()
    assert tool.end(LIMIT_SECONDS).status == -signal.SIGKILL


def test_killed(installation: Installation) -> None:
    """Whoever is deleted is gone without a trace, though the command is killed again
    and again while the user and others upload; others notice nothing."""
    (other,) = installation.clients(installation.token("user", "add", "frank"), 1)
    (user,) = installation.clients(installation.token("user", "add", "erin"), 1)
    others, prefixes = new_prefix(other), [new_prefix(user) for _ in range(3)]
    for content in (b"1", b"2"):
        answer = user.post(url_of(prefixes[0], "replaced"), content=content)
        assert answer.status_code == 204
    local = isinstance(installation.storage, LegacyDirectory)
    # A thousand are deleted in one step.
    objects = int(IN_FULL or (6_000 if local else 1_500))
    kills = 5 if IN_FULL else 3 if local else 1
    _fill(installation, prefixes, objects)
    words = ("user", "delete", *installation.places, "erin", "--yes", "--json")
    watched = (
        (lambda: _kept(installation, prefixes)),
        (lambda: _stored(installation, prefixes)),
    )
    with _uploading(other, others) as theirs, _uploading(user, prefixes[0]) as own:
        for number in range(kills):
            _kill_on_its_way(installation, words, watched[number % 2])
        assert _kept(installation, prefixes) > 0
        environment = installation.storage.environment
        ended = run_tool(
            *words, "--quiet", environment=environment, seconds=LIMIT_SECONDS
        )
    assert theirs.result() == {204}
    assert own.result() == {204, 403}
    assert ended.status == 0, ended.err
    (said,) = ended.of_kind("user-deleted")
    assert said["resumed"]
    assert 0 < int(said["objects"]) < objects
    assert _stored(installation, prefixes) == 0
    assert _left_in_tables(installation, int(said["id"]), prefixes) == {}
    verified = run_tool(
        *("verify", *installation.places, "--json", "--quiet"),
        environment=installation.storage.environment,
    )
    assert verified.status == 0, verified.out


def _left_in_tables(
    installation: Installation, user_id: int, prefixes: Sequence[str]
) -> dict[str, int]:
    """Return in how many rows of which tables there is something of the user's."""
    below = " OR ".join(f"blob_key LIKE '{prefix}%'" for prefix in prefixes)
    theirs = f"user_id = {user_id}"
    wanted = {
        "accounts": f"{theirs} AND name IS NOT NULL",
        "garbage": f"owner_id = {user_id} OR {below}",
        "objects": below,
        **dict.fromkeys(
            ("prefixes", "repositories", "tokens", "traffic", "users"), theirs
        ),
    }
    counts = {
        table: query(installation.dsn, f"SELECT count(*) FROM {table} WHERE {which}")
        for table, which in wanted.items()
    }
    return {table: rows for table, ((rows,),) in counts.items() if rows}
