"""What is looked at now and then."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from qabel_block.config.config import (
    Config,
    DummyUser,
    InProcess,
    LocalDirectory,
    SqliteLedger,
)
from qabel_block.errors import Unavailable
from qabel_block.http.transport.site import BlockSite
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.ledger import Ledger
from qabel_block.metrics.definitions import Metrics
from qabel_block.metrics.sampler import INTERVAL, Sampler
from qabel_block.operations.readiness import Check, Dependency, Readiness
from qabel_block.push.memory import MemoryNotifier
from qabel_block.server.composition import compose
from qabel_block.storage.identified import IdentifiedStorage
from qabel_block.util.threads import ThreadPool


class _Database:
    """Has so many notes of garbage."""

    notes = 0

    async def fetch(self, *_: object, **_parameters: object) -> list[Row]:
        return [(self.notes,)]


class _Checks:
    """Dependencies of which some may be down."""

    def __init__(self) -> None:
        self.down: set[str] = set()

    def of(self, name: str) -> Check:
        async def check() -> None:
            if name in self.down:
                raise Unavailable(name, "it is down")

        return check


def test_looks() -> None:
    """At every interval it is seen what works and how much garbage there is; what
    can't be asked stays as it was."""
    registry, clock, checks, database = (
        CollectorRegistry(),
        Clock(),
        _Checks(),
        _Database(),
    )
    names = ("database", "storage", "cache", "push", "accounts")
    readiness = Readiness(
        {name: Dependency(checks.of(name), name == "database") for name in names},
        clock,
    )
    ledger = Ledger(database, clock.seconds)  # type: ignore[arg-type]
    sampler = Sampler(Metrics(registry), readiness, ledger, MemoryNotifier(), clock)

    def up(name: str) -> float | None:
        return registry.get_sample_value("block_dependency_up", {"dependency": name})

    database.notes = 5
    sampler.start()
    assert [up(name) for name in names] == [1, 1, 1, 1, 1]
    assert registry.get_sample_value("block_garbage_waiting") == 5
    checks.down = {"database", "accounts"}
    database.notes = 0
    clock.advance(INTERVAL)
    assert [up(name) for name in names] == [0, 1, 1, 1, 0]
    assert registry.get_sample_value("block_garbage_waiting") == 5
    checks.down = set()
    clock.advance(INTERVAL)
    assert [up(name) for name in names] == [1, 1, 1, 1, 1]
    assert registry.get_sample_value("block_garbage_waiting") == 0
    sampler.stop()
    checks.down = set(names)
    clock.advance(INTERVAL)
    assert up("cache") == 1


def test_nothing_is_measured_unless_wanted(tmp_path: Path) -> None:
    """Without metrics there is nothing between the parts."""
    config = Config(
        storage=LocalDirectory(tmp_path),
        ledger=SqliteLedger(tmp_path / "ledger.sqlite", migrate=True),
        cache=InProcess(),
        accounts=DummyUser("T"),
        endpoints=("tcp:0",),
    )
    parts = compose(config, Clock())
    assert parts.sampler is None
    assert type(parts.storage) is IdentifiedStorage
    assert type(parts.notifier) is MemoryNotifier
    assert type(parts.threads) is ThreadPool
    assert type(parts.site) is BlockSite
    measured = compose(config, Clock(), metrics=Metrics(CollectorRegistry()))
    assert measured.sampler is not None
    for part, kind in (
        (measured.storage, IdentifiedStorage),
        (measured.notifier, MemoryNotifier),
    ):
        assert type(part) is not kind
