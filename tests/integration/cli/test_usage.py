"""``qabel-block usage``."""

from __future__ import annotations

import time

from qabel_block.rules.quota import month_of
from tests.integration.ledger.support import change
from tests.support.tools import run_tool


def _fill(dsn: str) -> None:
    month = month_of(time.time())
    change(
        dsn,
        "INSERT INTO users (user_id, size)"
        " VALUES (1, 100), (2, 3000), (3, NULL), (4, 100)",
        f"INSERT INTO traffic VALUES (1, '{month}', 7), (5, '{month}', 5000)",
        "INSERT INTO traffic VALUES (1, '2001-01-01', 9999999), (2, '2001-02-01', 1)",
    )


def _row(user: int, stored: int, downloaded: int) -> dict[str, int]:
    return {"user": user, "stored": stored, "downloaded": downloaded}


def test_usage(dsn: str) -> None:
    """Users come by what they store, and by what was downloaded from them this
    month, the most first."""
    _fill(dsn)
    ended = run_tool("usage", "--psql-dsn", dsn, "--json")
    assert ended.status == 0
    assert ended.of_kind("by-storage") == [
        _row(2, 3000, 0),
        _row(1, 100, 7),
        _row(4, 100, 0),
        _row(3, 0, 0),
    ]
    assert ended.of_kind("by-traffic") == [_row(5, 0, 5000), _row(1, 100, 7)]


def test_top(dsn: str) -> None:
    """`--top` limits both lists."""
    _fill(dsn)
    ended = run_tool("usage", "--psql-dsn", dsn, "--json", "--top", "1")
    assert ended.of_kind("by-storage") == [_row(2, 3000, 0)]
    assert ended.of_kind("by-traffic") == [_row(5, 0, 5000)]


def test_tables(dsn: str) -> None:
    """People get two tables, in units that they can read."""
    _fill(dsn)
    out = run_tool("usage", "--psql-dsn", dsn).out
    for word in ("Users by storage", "Users by traffic", "2.9 KiB", "4.9 KiB", "100 B"):
        assert word in out
