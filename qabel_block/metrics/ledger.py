"""Measures the ledger's operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from qabel_block.ledger.commit import Decision
from qabel_block.ledger.ledger import Ledger
from qabel_block.metrics.definitions import LEDGER_OPERATIONS, Metrics
from qabel_block.model import (
    Change,
    ObjectName,
    PendingBlob,
    ReadState,
    TrafficCount,
    WriteState,
)

T = TypeVar("T")


class MeasuredLedger(Ledger):
    """A ledger; waiting for others and repeating are part of an operation's time,
    and so are those that fail.

    :param clock: seconds, of a clock that never goes back.
    """

    def __init__(
        self, metrics: Metrics, clock: Callable[[], float], *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._clock = clock
        self._meta = metrics.meta.observe
        self._delete = metrics.delete.observe
        self._observe = {
            operation: metrics.ledger.labels(operation).observe
            for operation in LEDGER_OPERATIONS
        }

    async def storage_used(self, user_id: int) -> int:
        """See :meth:`Ledger.storage_used`."""
        return await self._timed("storage_used", super().storage_used(user_id))

    async def prefixes(self, user_id: int) -> list[str]:
        """See :meth:`Ledger.prefixes`."""
        return await self._timed("prefixes", super().prefixes(user_id))

    async def create_prefix(self, user_id: int, name: str) -> None:
        """See :meth:`Ledger.create_prefix`."""
        await self._timed("create_prefix", super().create_prefix(user_id, name))

    async def state(self, name: ObjectName) -> WriteState | None:
        """See :meth:`Ledger.state`."""
        return await self._timed("target", super().state(name))

    async def find(self, name: ObjectName, month: str) -> ReadState | None:
        """See :meth:`Ledger.find`."""
        began = self._clock()
        try:
            return await super().find(name, month)
        finally:
            spent = self._clock() - began
            self._meta(spent)
            self._observe["find"](spent)

    async def note_blob(self, key: str) -> str:
        """See :meth:`Ledger.note_blob`."""
        return await self._timed("note_blob", super().note_blob(key))

    async def commit_upload(
        self,
        name: ObjectName,
        blob: PendingBlob,
        decide: Decision,
        claim_for: int | None,
    ) -> Change:
        """See :meth:`Ledger.commit_upload`."""
        return await self._timed(
            "commit_upload", super().commit_upload(name, blob, decide, claim_for)
        )

    async def delete(self, name: ObjectName, decide: Decision) -> Change | None:
        """See :meth:`Ledger.delete`."""
        began = self._clock()
        try:
            return await super().delete(name, decide)
        finally:
            spent = self._clock() - began
            self._delete(spent)
            self._observe["delete"](spent)

    async def add_traffic(self, counts: Sequence[TrafficCount]) -> None:
        """See :meth:`Ledger.add_traffic`."""
        await self._timed("add_traffic", super().add_traffic(counts))

    async def claim_garbage(self, grace: float, limit: int) -> list[str]:
        """See :meth:`Ledger.claim_garbage`."""
        return await self._timed("claim_garbage", super().claim_garbage(grace, limit))

    async def forget_garbage(self, keys: Sequence[str]) -> None:
        """See :meth:`Ledger.forget_garbage`."""
        await self._timed("forget_garbage", super().forget_garbage(keys))

    async def garbage(self, age: float, limit: int) -> int:
        """See :meth:`Ledger.garbage`."""
        return await self._timed("garbage", super().garbage(age, limit))

    async def _timed(self, operation: str, work: Awaitable[T]) -> T:
        began = self._clock()
        try:
            return await work
        finally:
            self._observe[operation](self._clock() - began)
