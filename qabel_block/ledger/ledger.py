"""The ledger: who owns what, which blob an object is, and what it costs.

Everything that has to be atomic happens here, in one transaction of the
database each (DESIGN, "One idea"): these are the operations of which the
server's own (:mod:`qabel_block.operations.objects`) are made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import wraps
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

from qabel_block.errors import NotOwner, StorageFull, fresh
from qabel_block.ledger import (
    change_queries,
    download_queries,
    garbage_queries,
    prefix_queries,
    repository_queries,
)
from qabel_block.ledger.change_queue import ChangeQueue, if_awaited
from qabel_block.ledger.commit import (
    Commit,
    Decision,
    Deletion,
    Outcome,
    commit_changes,
)
from qabel_block.ledger.installation import InstallationRecord
from qabel_block.ledger.interfaces import IDatabase, ITransaction
from qabel_block.ledger.repositories import control_ranges
from qabel_block.ledger.sql import Statement
from qabel_block.ledger.write_states import numbered, read_stored, read_write_states
from qabel_block.model import (
    Change,
    ObjectName,
    PendingBlob,
    ReadState,
    TrafficCount,
    WriteState,
)
from qabel_block.names import parse_blob_key
from qabel_block.util.batching import BatchQueue, Schedule, immediately

P = ParamSpec("P")
T = TypeVar("T")

OperationRecorder = Callable[[str, float], None]
"""Takes the name of an operation and the seconds that it took."""


def _recorded(
    operation: Callable[Concatenate[Ledger, P], Awaitable[T]],
) -> Callable[Concatenate[Ledger, P], Coroutine[Any, Any, T]]:
    name = operation.__name__

    @wraps(operation)
    async def timed(self: Ledger, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._record is None:
            return await operation(self, *args, **kwargs)
        began = monotonic()
        try:
            return await operation(self, *args, **kwargs)
        finally:
            self._record(name, monotonic() - began)

    return timed  # type: ignore[return-value]


OWNER_NOTES = 500
"""Notes of one owner that are looked at at a time."""

CLAIM_SECONDS = 60.0
"""How long an owner's garbage that somebody has claimed is left alone. Whoever has not
forgotten it by then may have died; to delete a blob twice does no harm."""


class Ledger:
    """The domain's operations on a database.

    Each is one transaction or one statement. All raise
    :class:`~qabel_block.errors.Unavailable` if the database is down, and have
    then changed nothing, unless it is
    :class:`~qabel_block.errors.OutcomeUnknown`.

    A change locks the row of the prefix's owner before anything else, so that
    all changes to what a user stores happen one after the other, on whatever
    node.

    :param now: seconds, from whenever.
    :param schedule: what to wait for, so that more is asked together.
    :param record: told of each operation its name and the seconds it took, those
        of waiting and repeating included, also if it failed.
    """

    def __init__(
        self,
        database: IDatabase,
        now: Callable[[], float],
        schedule: Schedule = immediately,
        record: OperationRecorder | None = None,
    ) -> None:
        self._database = database
        self._record = record
        self._installation = InstallationRecord(database)
        self._write_states = BatchQueue(self._ask_write_states, now, schedule)
        self._finds = BatchQueue(self._ask_read_states, now, schedule)
        self._notes = BatchQueue(self._note_blobs, now, schedule)
        self._changes = ChangeQueue(self._commit_changes, now, schedule)

    @_recorded
    async def installation(self) -> str:
        """Return the id of this installation; at first use it gets one."""
        return (await self._installation.read()).id

    @_recorded
    async def storage_used(self, user_id: int) -> int:
        """Return the bytes that a user stores; 0 for one never heard of."""
        rows = await self._database.fetch(prefix_queries.storage_used, user_id=user_id)
        return rows[0][0] if rows else 0

    @_recorded
    async def prefixes(self, user_id: int) -> list[str]:
        """Return a user's prefixes, oldest first; not those of repositories."""
        rows = await self._database.fetch(prefix_queries.prefixes_of, user_id=user_id)
        return [name for (name,) in rows]

    @_recorded
    async def create_prefix(self, user_id: int, name: str) -> None:
        """Give a new prefix to a user.

        :raises NotOwner: if the prefix exists already.
        """

        async def work(transaction: ITransaction) -> None:
            if not await transaction.execute(
                prefix_queries.create_prefix, prefix=name, user_id=user_id
            ):
                raise NotOwner(name)

        await self._database.transact(work)

    @_recorded
    async def write_state(self, name: ObjectName) -> WriteState | None:
        """Return what decides about a change, without a promise that it lasts.

        :return: ``None`` if there is no such prefix.
        """
        return await self._write_states.ask(name)

    @_recorded
    async def control_size(self, prefix: str) -> int:
        """Return the bytes of the locks, index and snapshots of the restic repository
        below a prefix, without a promise that it lasts."""
        rows = await self._database.fetch(
            repository_queries.control_sizes, ranges=control_ranges([prefix])
        )
        return rows[0][1] if rows else 0

    @_recorded
    async def find(self, name: ObjectName, month: str) -> ReadState | None:
        """Look an object up for reading.

        :param month: whose traffic to return, as ``YYYY-MM-01``.
        :return: ``None`` if there is no such object.
        """
        return await self._finds.ask((name, month))

    @_recorded
    async def note_blob(self, key: str) -> None:
        """Note a blob that is about to get its final name as garbage.

        The note may be lost if the database crashes.
        """
        await self._notes.ask(key)

    @_recorded
    async def commit_upload(
        self,
        name: ObjectName,
        blob: PendingBlob,
        decide: Decision,
        claim_for: int | None,
    ) -> Change:
        """Make a blob the object of this name, if ``decide`` lets it.

        The blob that it replaces becomes garbage. Changes that come at the same
        time share a transaction, in which they are decided one after the other. This
        ends when the outcome is known, which may be after the budget is spent; what
        was not decided by then is not made.

        :param claim_for: the user who gets the prefix if it does not exist.
        :raises NotOwner: if the prefix does not exist and nobody is to get it.
        :raises BlobCollected: if the blob's note is not there any more, or
            claimed.
        :raises Exception: what ``decide`` raised. After any of these nothing
            has changed.
        """
        change = await self._changes.ask(
            Commit(name, blob, if_awaited(decide), claim_for)
        )
        assert isinstance(change, Change)
        return change

    @_recorded
    async def delete(self, name: ObjectName, decide: Decision) -> Change | None:
        """Delete an object, if ``decide`` lets it. Its blob becomes garbage.

        It ends as :meth:`commit_upload`.

        :return: ``None`` if there was no object; ``decide`` was asked all the
            same.
        :raises NotOwner: if the prefix does not exist.
        :raises Exception: what ``decide`` raised. After either nothing has
            changed.
        """
        change = await self._changes.ask(Deletion(name, if_awaited(decide)))
        assert not isinstance(change, Exception)
        return change

    @_recorded
    async def add_traffic(self, counts: Sequence[TrafficCount]) -> None:
        """Add to what owners' downloads have cost."""
        sums: Counter[tuple[int, str]] = Counter()
        for count in counts:
            sums[count.user_id, count.month] += count.traffic
        records = [
            {"user_id": user_id, "month": month, "traffic": traffic}
            for (user_id, month), traffic in sums.items()
        ]
        if records:
            await self._change(download_queries.add_traffic, counts=json.dumps(records))

    @_recorded
    async def claim_garbage(
        self, grace: float, limit: int, pending: float = 0.0
    ) -> list[str]:
        """Return blobs that may be deleted now, and that no other node deletes.

        They count as noted anew from now on, by the database's clock: a commit of one
        of them fails, and if they are not forgotten they are returned again after
        the grace period. A note is dropped if an object points at its blob, or if its
        key is none, so that no blob can have it.

        :param grace: seconds since the blob was noted.
        :param limit: the largest number to return, and to look at.
        :param pending: seconds, if more, for a blob that never was an object's: it may
            be about to be committed.
        """

        async def work(transaction: ITransaction) -> list[str]:
            while rows := await transaction.fetch(
                garbage_queries.stale_notes,
                age=grace,
                pending_age=max(grace, pending),
                limit=limit,
            ):
                keys = {key for (key,) in rows}
                if garbage := await _claim(transaction, keys):
                    return garbage
            return []

        return await self._database.transact(work, frees_space=True)

    @_recorded
    async def claim_owner_garbage(self, owner_id: int, size: int) -> list[str]:
        """Return one owner's oldest garbage, however young it is; see
        :meth:`claim_garbage`. A claim lasts :data:`CLAIM_SECONDS` here.

        :param size: bytes that it shall have in all, if there is so much.
        """

        async def work(transaction: ITransaction) -> list[str]:
            rows = await transaction.fetch(
                garbage_queries.owner_notes,
                owner_id=owner_id,
                age=CLAIM_SECONDS,
                limit=OWNER_NOTES,
            )
            left = size
            keys = set()
            for key, bytes_ in rows:
                if left <= 0:
                    break
                keys.add(key)
                left -= bytes_
            return await _claim(transaction, keys)

        return await self._database.transact(work, frees_space=True)

    async def release_garbage(self, keys: Sequence[str]) -> None:
        """Let :meth:`claim_owner_garbage` return claimed blobs again that are not
        deleted. They may be gone all the same, so no commit may take them."""
        await self._change(
            garbage_queries.release_notes,
            durable=False,
            repeatable=True,
            notes=_key_records(keys),
            age=CLAIM_SECONDS,
        )

    async def forget_garbage(
        self, keys: Sequence[str], wait: bool = False
    ) -> dict[int, list[str]]:
        """Drop the notes of blobs that are deleted.

        :param wait: whether to wait for owners whom somebody else has locked, for
            :data:`~qabel_block.ledger.owner_locks.LOCK_WAIT_MILLISECONDS`.
        :return: by owner those that stay, since somebody else has locked the owner.
        :raises RowLocked: if waiting takes too long.
        """
        notes = _key_records(keys)
        forget = (
            garbage_queries.forget_notes_waiting
            if wait
            else garbage_queries.forget_notes
        )

        async def work(transaction: ITransaction) -> dict[int, list[str]]:
            kept: dict[int, list[str]] = {}
            for owner_id, key in await transaction.fetch(forget, notes=notes):
                kept.setdefault(owner_id, []).append(key)
            return kept

        return await self._database.transact(work, frees_space=True)

    @_recorded
    async def garbage(self, age: float, limit: int) -> int:
        """Return how many blobs are noted as garbage.

        :param age: count only what was noted so many seconds ago, or before.
        :param limit: what to count up to.
        """
        rows = await self._database.fetch(
            garbage_queries.count_notes, age=age, limit=limit
        )
        return int(rows[0][0])

    async def _ask_write_states(
        self, names: Sequence[ObjectName]
    ) -> list[WriteState | None]:
        rows = await self._database.fetch(
            change_queries.write_states, names=numbered(names)
        )
        return read_write_states(len(names), rows)

    async def _ask_read_states(
        self, questions: Sequence[tuple[ObjectName, str]]
    ) -> list[ReadState | None]:
        records = [
            {"n": n, **name.record(), "month": month}
            for n, (name, month) in enumerate(questions)
        ]
        found: list[ReadState | None] = [None] * len(questions)
        for n, *stored, owner_id, traffic in await self._database.fetch(
            download_queries.find, names=json.dumps(records)
        ):
            found[n] = ReadState(read_stored(stored), owner_id, traffic)
        return found

    async def _note_blobs(self, keys: Sequence[str]) -> list[None]:
        await self._change(
            garbage_queries.note_blobs,
            durable=False,
            repeatable=True,
            notes=_key_records(keys),
        )
        return [None] * len(keys)

    async def _change(
        self,
        statement: Statement,
        durable: bool = True,
        repeatable: bool = False,
        **parameters: object,
    ) -> None:
        """Make one change, which nothing else decides about."""

        async def work(transaction: ITransaction) -> None:
            await transaction.finish(statement, **parameters)

        await self._database.transact(work, durable=durable, repeatable=repeatable)

    async def _commit_changes(
        self, changes: Sequence[Commit | Deletion], wait: bool
    ) -> list[Outcome]:

        async def work(transaction: ITransaction) -> list[Outcome]:
            return await commit_changes(transaction, changes, wait)

        deletions = [change for change in changes if isinstance(change, Deletion)]
        only_deletions = len(deletions) == len(changes)
        try:
            return await self._database.transact(work, frees_space=only_deletions)
        except StorageFull as full:
            if only_deletions or not deletions:
                raise
            # Those are possible on a full disk.
            outcomes = iter(await self._commit_changes(deletions, wait))
            return [
                next(outcomes) if isinstance(change, Deletion) else fresh(full)
                for change in changes
            ]


async def _claim(transaction: ITransaction, keys: set[str]) -> list[str]:
    """Claim the notes of blobs that are garbage, and drop those of all others.

    :return: the keys that are claimed, sorted.
    """
    garbage = keys - await _not_garbage(transaction, keys)
    if garbage != keys:
        await transaction.execute(
            garbage_queries.forget_notes, notes=_key_records(keys - garbage)
        )
    if garbage:
        await transaction.execute(
            garbage_queries.claim_notes, notes=_key_records(garbage)
        )
    return sorted(garbage)


async def _not_garbage(transaction: ITransaction, keys: set[str]) -> set[str]:
    """Return those of the keys that an object points at or that are none."""
    notes = []
    wrong = set()
    for key in keys:
        try:
            name, _ = parse_blob_key(key)
        except ValueError:
            wrong.add(key)
        else:
            notes.append({**name.record(), "blob_key": key})
    rows = await transaction.fetch(garbage_queries.referenced, notes=json.dumps(notes))
    return wrong.union(key for (key,) in rows)


def _key_records(keys: Iterable[str]) -> str:
    return json.dumps([{"blob_key": key} for key in sorted(keys)])
