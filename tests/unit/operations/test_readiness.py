"""What is missing for requests to be served."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from qabel_block.errors import Unavailable
from qabel_block.operations.readiness import (
    INTERVAL,
    LIMIT,
    Dependency,
    Readiness,
    ReadinessReport,
)
from tests.integration.ledger.support import logged


async def _works() -> None:
    pass


async def _fails() -> None:
    raise Unavailable("cache", "it is gone")


async def _hangs() -> None:
    await Deferred()


class _Switch:
    """A dependency that fails while it is told to."""

    def __init__(self) -> None:
        self.down = False
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        if self.down:
            await _fails()


def _ask(readiness: Readiness) -> list[ReadinessReport]:
    found: list[ReadinessReport] = []
    Deferred.fromCoroutine(readiness.report()).addCallback(found.append)
    return found


def test_failures() -> None:
    """What does not answer in time is named like what fails, with the reason."""
    clock = Clock()
    checks = {"database": _works, "cache": _fails, "storage": _hangs}
    dependencies = {name: Dependency(check) for name, check in checks.items()}
    found = _ask(Readiness(dependencies, clock))
    clock.advance(LIMIT - 1)
    assert found == []
    clock.advance(1)
    reason = "does not answer within 5 s"
    assert found == [ReadinessReport({"cache": "it is gone", "storage": reason}, {})]
    assert not found[0].ready


def test_degraded() -> None:
    """What uploads and downloads do without leaves the server ready."""
    dependencies = {
        "database": Dependency(_works),
        "cache": Dependency(_fails, required=False),
    }
    (report,) = _ask(Readiness(dependencies, Clock()))
    assert report.ready
    assert report == ReadinessReport({}, {"cache": "it is gone"})
    assert report.missing == {"cache": "it is gone"}


def test_one_at_a_time() -> None:
    """Those who ask while it is being found out share the answer; the next one
    gets a new one."""
    ends: list[Deferred[None]] = []

    async def check() -> None:
        ends.append(Deferred())
        await ends[-1]

    readiness = Readiness({"database": Dependency(check)}, Clock())
    found: list[dict[str, str]] = []
    asking = [Deferred.fromCoroutine(readiness.report()) for _ in range(3)]
    for one in asking[:2]:
        one.addCallback(lambda report: found.append(report.missing))
    asking[2].addErrback(lambda _: None).cancel()
    assert len(ends) == 1
    ends[0].callback(None)
    assert found == [{}, {}]
    later = _ask(readiness)
    ends[1].errback(Unavailable("database", "it is gone"))
    assert later[0].missing == {"database": "it is gone"}


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    with logged() as events:
        yield events


@pytest.mark.parametrize(
    ("required", "state"), [(True, "not ready"), (False, "degraded")]
)
def test_changes_are_logged_once(
    events: list[LogEvent], required: bool, state: str
) -> None:
    """One warning when something fails, one message when it works again, however
    often it is asked and whatever has the same reason; none before
    the server has had time to connect. It says whether uploads and downloads work."""
    switch = _Switch()
    names = ("cache", "push")
    dependency = Dependency(switch.check, required)
    readiness = Readiness(dict.fromkeys(names, dependency), Clock())
    switch.down = True
    _ask(readiness)
    assert events == []
    readiness.start()
    for _ in range(3):
        _ask(readiness)
    switch.down = False
    for _ in range(3):
        _ask(readiness)
    assert [
        (event["log_level"].name, event["log_format"].format(**event))
        for event in events
    ] == [
        ("warn", f"not working: cache, push (it is gone); the server is {state}"),
        ("info", "working again: cache, push"),
    ]


def test_watching(events: list[LogEvent]) -> None:
    """Changes are noticed when nobody asks; somebody else's server is not asked
    for that."""
    clock, near, far = Clock(), _Switch(), _Switch()
    readiness = Readiness(
        {
            "database": Dependency(near.check),
            "accounts": Dependency(far.check, required=False, foreign=True),
        },
        clock,
    )
    readiness.start()
    readiness.watch()
    near.down = True
    clock.advance(INTERVAL)
    assert (near.checks, far.checks) == (2, 0)
    assert [event["names"] for event in events] == ["database"]
    readiness.stop()
    clock.advance(INTERVAL)
    assert near.checks == 2
