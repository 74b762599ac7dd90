"""No timer and no time limit notices that somebody sets the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.database import query
from tests.support.faketime import HOUR, WallClock
from tests.support.server import ServerProcess
from tests.support.settings import Setting, StoredFiles
from tests.support.waiting import wait_for
from tests.support.world import World

LIMIT = 15.0
"""Seconds that a request may wait for a dependency."""


@frozen
class ClockedServer:
    """A server, and the clock that it looks at."""

    world: World
    clock: WallClock


@pytest.fixture(params=["epoll", "asyncio"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClockedServer]:
    clock = WallClock.required(tmp_path / "offset")
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    reactor = ("--asyncio",) if request.param == "asyncio" else ()
    with AccountingDouble() as accounting:
        options = (
            *("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
            *("--dummy-cache", "--accounting-host", accounting.url),
            *("--apisecret", accounting.secret, *reactor),
        )
        with ServerProcess(*options, environment=clock.environment) as server:
            setting = Setting(dsn, (), {}, StoredFiles(tmp_path / "objects"))
            yield ClockedServer(World(server, accounting, setting), clock)


def _is_off(world: World, seconds: int) -> bool:
    """Say whether the server's log has a clock that is so far off."""
    logged = datetime.fromisoformat(world.process.records()[-1]["time"])
    off = (logged - datetime.now(timezone.utc)).total_seconds()
    return abs(off - seconds) < HOUR / 2


def test_an_hour_back(place: ClockedServer) -> None:
    """After the clock was set back by an hour traffic is still written, and a
    question to an accounting server that hangs has its limit."""
    world = place.world
    user, stranger = world.user(), world.user()
    assert user.upload("a", b"x" * 1000).status_code == 204
    place.clock.set_off(-HOUR)
    assert user.download("a").status_code == 200
    wait_for(lambda: _is_off(world, -HOUR))
    counted = "SELECT coalesce(sum(traffic), 0) FROM traffic"
    wait_for(lambda: query(world.setting.dsn, counted) == [(1000,)], LIMIT)
    world.accounting.delay = 2 * LIMIT
    stranger.client.timeout = LIMIT
    answer = stranger.client.get("/api/v0/quota/")
    assert answer.status_code == 503
    assert "accounting" in answer.json()["detail"]


def test_two_hours_forward(place: ClockedServer) -> None:
    """An upload under way goes on when the clock is set forward by two hours, and so
    does an idle connection; the log has the new time."""
    world = place.world
    user = world.user()
    idle = world.user()
    idle.quota()
    with user.wire() as wire:
        headers = {"Transfer-Encoding": "chunked", **user.authorization}
        wire.head("POST", user.url("a"), headers)
        wire.chunk(b"x" * 1000)
        place.clock.set_off(2 * HOUR)
        # Whatever would be due by the clock is due when something happens.
        assert user.quota()["size"] == 0
        wire.chunk(b"y" * 1000)
        wire.chunk(b"")
        assert wire.answer().status == 204
    assert user.download("a").content == b"x" * 1000 + b"y" * 1000
    assert idle.quota()["size"] == 0
    wait_for(lambda: _is_off(world, 2 * HOUR))
