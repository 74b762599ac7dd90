"""Timeouts for a storage backend: a call that hangs ends in ``Unavailable``.

A disk may hang in the kernel and a bucket behind a network that swallows
everything; neither call can be ended. It goes on by itself then, and what has
to follow it, such as closing a file, is done when it has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from qabel_block.errors import Unavailable
from qabel_block.interfaces import (
    IBlobReader,
    IBlobWriter,
    IFileBlobReader,
    IStorageBackend,
)
from qabel_block.util.budget import time_left, time_left_unless_transferring
from qabel_block.util.cancellation import shield

T = TypeVar("T")
Work = Coroutine[Deferred[Any], Any, T]

STALL_SECONDS = 12.0
"""Seconds for which a call is waited for while no other call succeeds. A storage
that is merely slow is waited for as long as it gets anything done: otherwise the
last of many uploads would fail for no better reason than that they are many."""

MAX_SECONDS = 120.0
"""Seconds for which a call is waited for in any case."""

SECONDS_PER_DELETION = 0.1
"""Seconds more for each blob that one call deletes."""


class TimeLimits:
    """Timeouts for calls: how long without progress, and how long in all.

    :param clock: for the timeouts.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._last_success = clock.seconds()

    async def wait(self, work: Work[T], more: float = 0.0) -> T:
        """Return what ``work`` does, which goes on whatever happens here.

        :param more: seconds to wait beside the usual, if the budget has so many.
        :raises Unavailable: if it takes too long.
        """
        try:
            awaited = work.send(None)
        except StopIteration as end:
            # It only concerned memory, which says nothing of the storage.
            done: T = end.value
            return done
        return await self._wait(_resume(work, awaited), more)

    async def _wait(self, work: Awaitable[T], more: float) -> T:
        outcome = shield(self._note_success(work))
        timer: IDelayedCall | None = None
        began = self._clock.seconds()
        limit, most = (
            time_left(STALL_SECONDS + more),
            time_left_unless_transferring(MAX_SECONDS + more),
        )

        def look() -> None:
            nonlocal timer
            progress = max(self._last_success, began) + limit
            left = min(progress, began + most) - self._clock.seconds()
            if left > 0:
                timer = self._clock.callLater(left, look)
            else:
                outcome.errback(Unavailable("storage", "it does not answer"))

        if not outcome.called:
            timer = self._clock.callLater(limit, look)
        try:
            return await outcome
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    async def _note_success(self, work: Awaitable[T]) -> T:
        result = await work
        self._last_success = self._clock.seconds()
        return result


@coroutine
def _resume(work: Work[T], awaited: Any) -> Generator[Any, Any, T]:
    """Do the rest of a coroutine that awaits something already."""
    step: Callable[[Any], Any]
    argument: Any
    while True:
        try:
            argument = yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            step, argument = work.throw, error
        else:
            step = work.send
        try:
            awaited = step(argument)
        except StopIteration as end:
            returned: T = end.value
            return returned


class _CallSequence:
    """The calls on one writer or reader, one after the other."""

    def __init__(self, limits: TimeLimits) -> None:
        self._limits = limits
        self._under_way = False
        self._last: Callable[[], Work[None]] | None = None

    async def run(self, work: Work[T]) -> T:
        """Wait for a call.

        :raises Unavailable: if it takes too long.
        """
        return await self._limits.wait(self._run(work))

    async def end(self, last: Callable[[], Work[None]]) -> None:
        """Wait for the last call, or for nothing if another is under way still:
        then it is made when that has ended."""
        if self._under_way:
            self._last = last
            return
        with suppress(Unavailable):  # it goes on
            await self.run(last())

    async def _run(self, work: Work[T]) -> T:
        self._under_way = True
        try:
            return await work
        finally:
            self._under_way = False
            if self._last is not None:
                await self._last()


@implementer(IStorageBackend)
class TimeLimitedStorage:
    """Decorates a storage backend with timeouts.

    :param clock: for the timeouts.
    """

    def __init__(self, inner: IStorageBackend, clock: IReactorTime) -> None:
        self._inner = inner
        self._limits = TimeLimits(clock)
        self._checking = False

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        identity: str | None = await self._limits.wait(self._inner.identity())
        return identity

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`."""
        await self._limits.wait(self._inner.bind(installation))

    async def create(self, key: str) -> TimeLimitedWriter:
        """See :meth:`IStorageBackend.create`."""
        create = self._inner.create(key)
        writer = await self._create(create, lambda late: late.abort())
        return TimeLimitedWriter(writer, self._limits)

    async def open(self, key: str, start: int, length: int) -> TimeLimitedReader:
        """See :meth:`IStorageBackend.open`."""
        opening = self._inner.open(key, start, length)
        reader = await self._create(opening, lambda late: late.close())
        if IFileBlobReader.providedBy(reader):
            return TimeLimitedFileReader(reader, self._limits)
        return TimeLimitedReader(reader, self._limits)

    async def delete(self, keys: Sequence[str]) -> Mapping[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        more = SECONDS_PER_DELETION * len(keys)
        failed: Mapping[str, str] = await self._limits.wait(
            self._inner.delete(keys), more
        )
        return failed

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`. One check at a time: those of a
        storage that hangs don't pile up."""
        if self._checking:
            raise Unavailable("storage", "it has not answered the last check yet")
        await self._limits.wait(self._check())

    async def close(self) -> None:
        """See :meth:`IStorageBackend.close`."""
        await self._inner.close()

    async def _check(self) -> None:
        self._checking = True
        try:
            await self._inner.check()
        finally:
            self._checking = False

    async def _create(self, making: Any, drop: Callable[[Any], Work[None]]) -> Any:
        """Return what is made, or drop it if it comes too late."""
        in_time = True

        async def make() -> Any:
            made = await making
            if not in_time:
                await drop(made)
            return made

        try:
            return await self._limits.wait(make())
        except BaseException:
            in_time = False
            raise


@implementer(IBlobWriter)
class TimeLimitedWriter:
    """Decorates a writer with timeouts."""

    def __init__(self, inner: IBlobWriter, limits: TimeLimits) -> None:
        self._inner = inner
        self._calls = _CallSequence(limits)
        self._finished = False
        self._failed = False

    async def write(self, data: bytes) -> None:
        """See :meth:`IBlobWriter.write`."""
        await self._run(self._inner.write(data))

    async def finish(self) -> None:
        """See :meth:`IBlobWriter.finish`."""
        await self._run(self._finish())

    async def abort(self) -> None:
        """See :meth:`IBlobWriter.abort`.

        After a failure of the storage nobody waits for it once more.
        """
        ending = shield(self._calls.end(self._abort))
        if not self._failed:
            await ending

    async def _run(self, work: Any) -> None:
        try:
            await self._calls.run(work)
        except Unavailable:
            self._failed = True
            raise

    async def _finish(self) -> None:
        await self._inner.finish()
        self._finished = True

    async def _abort(self) -> None:
        # A blob that was finished too late is noted as garbage.
        if not self._finished:
            await self._inner.abort()


@implementer(IBlobReader)
class TimeLimitedReader:
    """Decorates a reader with timeouts."""

    def __init__(self, inner: IBlobReader, limits: TimeLimits) -> None:
        self._inner = inner
        self._calls = _CallSequence(limits)

    async def read(self) -> bytes:
        """See :meth:`IBlobReader.read`."""
        return await self._calls.run(self._inner.read())

    async def close(self) -> None:
        """See :meth:`IBlobReader.close`."""
        await self._calls.end(self._inner.close)


@implementer(IFileBlobReader)
class TimeLimitedFileReader(TimeLimitedReader):
    """The same for a reader whose bytes the kernel can send, which takes no time."""

    def __init__(self, inner: IFileBlobReader, limits: TimeLimits) -> None:
        super().__init__(inner, limits)
        self._file = inner

    def send(self, socket: int, size: int) -> int | None:
        """See :meth:`IFileBlobReader.send`."""
        return self._file.send(socket, size)
