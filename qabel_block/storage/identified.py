"""Refuses to use a storage whose identity does not match the ledger's."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from qabel_block.errors import StorageFull, Unavailable, WrongStorage
from qabel_block.interfaces import IBlobReader, IBlobWriter, IStorageBackend
from qabel_block.util.cancellation import shield
from qabel_block.util.event import Waiters

LIMIT = 12.0
"""Seconds for which a request waits until ledger and storage are compared."""

CHECK_SECONDS = 2.0
"""Seconds for which a check waits for that once they have been compared before."""


@implementer(IStorageBackend)
class IdentifiedStorage:
    """Decorates a storage backend: calls fail unless its identity is the ledger's.

    Whoever comes before that waits until the two are compared. Afterwards it is the
    other storage that notices if it is replaced.

    :param bind: compares the two and binds the other storage.
    :param clock: tells when to give up waiting.
    """

    def __init__(
        self,
        inner: IStorageBackend,
        bind: Callable[[], Coroutine[Deferred[Any], Any, None]],
        clock: IReactorTime,
    ) -> None:
        self._inner = inner
        self._compare = bind
        self._clock = clock
        self._waiters = Waiters[None]()
        self._bound = False

    async def identity(self) -> str | None:
        """See :meth:`IStorageBackend.identity`."""
        identity: str | None = await self._inner.identity()
        return identity

    async def bind(self, installation: str) -> None:
        """See :meth:`IStorageBackend.bind`."""
        await self._inner.bind(installation)
        self._bound = True

    async def create(self, key: str) -> IBlobWriter:
        """See :meth:`IStorageBackend.create`."""
        await self._require_bound()
        writer: IBlobWriter = await self._inner.create(key)
        return writer

    async def open(self, key: str, start: int, length: int) -> IBlobReader:
        """See :meth:`IStorageBackend.open`."""
        await self._require_bound()
        reader: IBlobReader = await self._inner.open(key, start, length)
        return reader

    async def delete(self, keys: Sequence[str]) -> Mapping[str, str]:
        """See :meth:`IStorageBackend.delete`."""
        await self._require_bound()
        failed: Mapping[str, str] = await self._inner.delete(keys)
        return failed

    async def check(self) -> None:
        """See :meth:`IStorageBackend.check`. Compares the two again."""
        comparing = shield(self._compare_once())
        if self._bound:
            # A ledger that does not answer is not the storage's trouble.
            comparing.addTimeout(CHECK_SECONDS, self._clock)
        try:
            await comparing
        except TimedOut:
            pass
        except WrongStorage:
            self._bound = False
            raise
        except StorageFull as error:
            raise Unavailable("storage", "there is no space left") from error
        except Unavailable as error:
            # Whatever else is wrong with the ledger is not the storage's trouble.
            if error.dependency == "storage":
                raise
        if self._bound:
            await self._inner.check()
        else:
            # Whose it is can't be told yet, but whether it is there.
            await self._inner.identity()

    async def close(self) -> None:
        """See :meth:`IStorageBackend.close`."""
        await self._inner.close()

    async def _require_bound(self) -> None:
        if not self._bound:
            await self._compare_once()

    async def _compare_once(self) -> None:
        """Compare the two, or wait for who does so already."""
        if self._waiters:
            await self._waiters.wait()
            return
        outcome = self._waiters.wait()
        comparing = shield(self._compare()).addTimeout(LIMIT, self._clock)
        comparing.addCallbacks(self._succeeded, self._failed)
        await outcome

    def _succeeded(self, _result: None) -> None:
        self._bound = True
        self._waiters.wake(None)

    def _failed(self, failure: Any) -> None:
        error = failure.value
        if failure.check(TimedOut):
            error = Unavailable("storage", "it is not known yet whose it is")
        self._waiters.fail(error)
