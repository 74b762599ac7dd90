"""A storage that does not answer is given up, in the right order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.errors import Unavailable
from qabel_block.storage.timeouts import (
    MAX_SECONDS,
    SECONDS_PER_DELETION,
    STALL_SECONDS,
    TimeLimitedStorage,
)
from qabel_block.util.budget import REQUEST_SECONDS, Budget, spending
from tests.integration.storage.blobs import new_key
from tests.support.clocks import running


@define(eq=False)
class Hanging:
    """A storage, and its writers and readers, that hangs in some calls.

    :ivar hangs: which calls, by name.
    :ivar calls: all that were begun, and those that have ended.
    """

    hangs: set[str] = field(factory=set)
    calls: list[str] = field(factory=list)
    _hanging: dict[str, Deferred[None]] = field(factory=dict)

    async def start(self) -> None:
        await self._call("start")

    async def create(self, key: str) -> Hanging:
        await self._call("create")
        return self

    async def open(self, key: str, start: int, length: int) -> Hanging:
        await self._call("open")
        return self

    async def delete(self, keys: Sequence[str]) -> None:
        await self._call("delete")

    async def identity(self) -> str | None:
        await self._call("identity")
        return None

    async def check(self) -> None:
        await self._call("check")

    async def write(self, data: bytes) -> None:
        await self._call("write")

    async def finish(self) -> None:
        await self._call("finish")

    async def abort(self) -> None:
        await self._call("abort")

    async def read(self) -> bytes:
        await self._call("read")
        return b"x"

    async def close(self) -> None:
        await self._call("close")

    def end(self, name: str, error: Exception | None = None) -> None:
        """Let a call that hangs end."""
        hanging = self._hanging.pop(name)
        if error is None:
            hanging.callback(None)
        else:
            hanging.errback(error)

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.hangs:
            self._hanging[name] = Deferred()
            await self._hanging[name]
            self.calls.append(f"end of {name}")


class World:
    """A storage that hangs, behind one that does not wait for ever."""

    def __init__(self, *hangs: str) -> None:
        self.clock = Clock()
        self.inner = Hanging(set(hangs))
        self.storage = TimeLimitedStorage(self.inner, self.clock)  # type: ignore[arg-type]

    async def gives_up(self, work: Any) -> None:
        """See that work is waited for no longer than the limit."""
        waiting = running(work)
        self.clock.advance(STALL_SECONDS - 1)
        assert not waiting.called
        self.clock.advance(1)
        with pytest.raises(Unavailable):
            await waiting
        assert self.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_write() -> None:
    """A writer that is given up is aborted when its call has ended, at last; nobody
    waits for that."""
    world = World("write")
    writer = await world.storage.create(new_key())
    await world.gives_up(writer.write(b"x"))
    await writer.abort()
    assert "abort" not in world.inner.calls
    world.inner.end("write")
    assert world.inner.calls == ["create", "write", "end of write", "abort"]


@pytest_twisted.ensureDeferred
async def test_finish() -> None:
    """A blob that is finished too late is not aborted: it is there, and garbage."""
    world = World("finish")
    writer = await world.storage.create(new_key())
    await world.gives_up(writer.finish())
    await writer.abort()
    world.inner.end("finish")
    assert "abort" not in world.inner.calls


@pytest_twisted.ensureDeferred
async def test_finish_that_fails_late() -> None:
    """A blob that could not be finished is aborted, even if that shows late."""
    world = World("finish")
    writer = await world.storage.create(new_key())
    await world.gives_up(writer.finish())
    await writer.abort()
    world.inner.end("finish", Unavailable("storage", "it is broken"))
    assert world.inner.calls[-1] == "abort"


@pytest_twisted.ensureDeferred
async def test_abort() -> None:
    """Nobody waits for an abort longer than for anything else, and after a failure
    of the storage not at all."""
    world = World("abort")
    writer = await world.storage.create(new_key())
    aborting = running(writer.abort())
    world.clock.advance(STALL_SECONDS)
    assert await aborting is None
    world.inner.hangs.add("write")
    writer = await world.storage.create(new_key())
    writing = running(writer.write(b"x"))
    world.inner.end("write", Unavailable("storage", "it is broken"))
    with pytest.raises(Unavailable):
        await writing
    assert await running(writer.abort()) is None
    assert world.inner.calls[-1] == "abort"


@pytest_twisted.ensureDeferred
async def test_read() -> None:
    """A reader that is given up is closed when its call has ended."""
    world = World("read")
    reader = await world.storage.open(new_key(), 0, 1)
    await world.gives_up(reader.read())
    await reader.close()
    assert "close" not in world.inner.calls
    world.inner.end("read")
    assert world.inner.calls[-1] == "close"


@pytest_twisted.ensureDeferred
async def test_made_too_late() -> None:
    """A reader that comes too late is closed, and a writer is aborted."""
    world = World("open", "create")
    await world.gives_up(world.storage.open(new_key(), 0, 1))
    world.inner.end("open")
    assert world.inner.calls[-1] == "close"
    await world.gives_up(world.storage.create(new_key()))
    world.inner.end("create")
    assert world.inner.calls[-1] == "abort"


@pytest_twisted.ensureDeferred
async def test_slow_is_not_hanging() -> None:
    """A call is waited for while others succeed, but not for ever."""
    world = World("read", "check")
    reader = await world.storage.open(new_key(), 0, 1)
    reading = running(reader.read())
    seconds = 0.0
    while seconds < MAX_SECONDS - 1:
        checking = running(world.storage.check())
        world.clock.advance(1)
        seconds += 1
        world.inner.end("check")
        await checking
        assert not reading.called
    world.clock.advance(1)
    with pytest.raises(Unavailable):
        await reading


@pytest_twisted.ensureDeferred
async def test_memory_is_no_success() -> None:
    """A call that returns at once has not asked the storage, and is no reason to
    wait for another one."""
    world = World("read")
    reader = await world.storage.open(new_key(), 0, 1)
    reading = running(reader.read())
    writer = await world.storage.create(new_key())
    for _ in range(int(STALL_SECONDS)):
        world.clock.advance(1)
        await writer.write(b"x")
    with pytest.raises(Unavailable):
        await reading


@pytest_twisted.ensureDeferred
async def test_delete() -> None:
    """Many blobs may take longer to delete than one."""
    world = World("delete")
    deleting = running(world.storage.delete([new_key()] * 100))
    world.clock.advance(STALL_SECONDS + 99 * SECONDS_PER_DELETION)
    assert not deleting.called
    world.clock.advance(SECONDS_PER_DELETION)
    with pytest.raises(Unavailable):
        await deleting


@pytest_twisted.ensureDeferred
async def test_delete_within_a_budget() -> None:
    """However many blobs a request deletes, it does not wait longer than it may."""
    world = World("delete")
    with spending(Budget(world.clock, REQUEST_SECONDS)):
        deleting = running(world.storage.delete([new_key()] * 1000))
    world.clock.advance(REQUEST_SECONDS)
    assert deleting.called
    with pytest.raises(Unavailable, match="storage"):
        await deleting


@pytest_twisted.ensureDeferred
async def test_checks_do_not_pile_up() -> None:
    """A storage that hangs is checked once, however often somebody asks."""
    world = World("check")
    await world.gives_up(world.storage.check())
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.storage.check()
    assert world.inner.calls == ["check"]
    world.inner.end("check")
    world.inner.hangs.clear()
    await world.storage.check()
