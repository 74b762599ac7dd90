"""Nobody uses a storage before it is known to be the ledger's."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.errors import StorageFull, Unavailable, WrongStorage
from qabel_block.storage.identified import CHECK_SECONDS, LIMIT, IdentifiedStorage
from tests.integration.storage.blobs import new_key
from tests.support.clocks import running
from tests.unit.storage.test_timeouts import Hanging


class World:
    """A storage, and comparisons that end when they are told to."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.inner = Hanging()
        self.comparing: list[Deferred[None]] = []
        self.storage = IdentifiedStorage(self.inner, self._bind, self.clock)  # type: ignore[arg-type]

    async def _bind(self) -> None:
        self.comparing.append(Deferred())
        await self.comparing[-1]


@pytest_twisted.ensureDeferred
async def test_one_comparison_for_all() -> None:
    """All who come at first wait for one comparison, and later ones for none."""
    world = World()
    waiting = [
        running(world.storage.create(new_key())),
        running(world.storage.open(new_key(), 0, 1)),
        running(world.storage.delete([new_key()])),
    ]
    assert world.inner.calls == []
    assert len(world.comparing) == 1
    world.comparing[0].callback(None)
    for one in waiting:
        await one
    await world.storage.create(new_key())
    assert world.inner.calls == ["create", "open", "delete", "create"]
    assert len(world.comparing) == 1
    assert world.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_wrong_storage() -> None:
    """A storage that is not the ledger's is not used; whoever comes next has the two
    compared once more."""
    world = World()
    waiting = [running(world.storage.create(new_key())) for _ in range(2)]
    world.comparing[0].errback(WrongStorage("it is another one"))
    for one in waiting:
        with pytest.raises(WrongStorage):
            await one
    again = running(world.storage.create(new_key()))
    world.comparing[1].callback(None)
    await again
    assert world.inner.calls == ["create"]


@pytest_twisted.ensureDeferred
async def test_check_compares_again() -> None:
    """A check compares the two, and what it finds counts for all from then on."""
    world = World()
    first = running(world.storage.check())
    world.comparing[0].callback(None)
    await first
    second = running(world.storage.check())
    world.comparing[1].errback(WrongStorage("it is another one"))
    with pytest.raises(WrongStorage):
        await second
    running(world.storage.create(new_key()))
    assert len(world.comparing) == 3
    assert world.inner.calls == ["check"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("bound", [True, False])
async def test_ledger_that_is_down(bound: bool) -> None:
    """That the ledger can't be asked is no fault of a storage: uploads fail for the
    ledger's sake, and a storage that was compared before is still used."""
    world = World()
    if bound:
        first = running(world.storage.check())
        world.comparing[0].callback(None)
        await first
    check = running(world.storage.check())
    world.comparing[-1].errback(Unavailable("database", "it is down"))
    await check
    upload = running(world.storage.create(new_key()))
    if bound:
        await upload
    else:
        world.comparing[-1].errback(Unavailable("database", "it is down"))
        with pytest.raises(Unavailable) as caught:
            await upload
        assert caught.value.dependency == "database"


@pytest_twisted.ensureDeferred
async def test_comparison_that_hangs() -> None:
    """Nobody waits for ever."""
    world = World()
    upload = running(world.storage.create(new_key()))
    world.clock.advance(LIMIT)
    with pytest.raises(Unavailable) as caught:
        await upload
    assert caught.value.dependency == "storage"


@pytest_twisted.ensureDeferred
async def test_check_beside_a_ledger_that_hangs() -> None:
    """A storage that was compared before is not called down because the ledger does not
    answer."""
    world = World()
    first = running(world.storage.check())
    world.comparing[0].callback(None)
    await first
    second = running(world.storage.check())
    world.clock.advance(CHECK_SECONDS)
    await second
    assert world.inner.calls == ["check", "check"]


@pytest_twisted.ensureDeferred
async def test_disk_that_is_full() -> None:
    """A check says that there is no room for an identity."""
    world = World()
    check = running(world.storage.check())
    world.comparing[0].errback(StorageFull())
    with pytest.raises(Unavailable, match="no space left"):
        await check
