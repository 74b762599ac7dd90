"""The ledger: who owns what, which blob an object is, and what it costs.

Everything that has to be atomic happens here, in one transaction of the
database each (DESIGN, "One idea"): these are the operations of which the
server's own (:mod:`qabel_block.operations`) are made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone

from attrs import asdict

from qabel_block.errors import BlobCollected, NotOwner
from qabel_block.interfaces import IDatabase, ITransaction, Row
from qabel_block.ledger import statements
from qabel_block.ledger.statements import Statement
from qabel_block.model import (
    Change,
    Found,
    NotedBlob,
    ObjectName,
    StoredObject,
    Target,
    TrafficCount,
)
from qabel_block.names import parse_blob_key

Decision = Callable[[Target], None]
"""Raises what forbids a change, or returns.

It may be called more than once and in any thread, so it looks at nothing but
its argument.
"""


class Ledger:
    """The domain's operations on a database.

    Each is one transaction or one statement. All raise
    :class:`~qabel_block.errors.Unavailable` if the database is down, and have
    then changed nothing, unless it is
    :class:`~qabel_block.errors.OutcomeUnknown`.

    A change locks the row of the prefix's owner before anything else, so that
    all changes to what a user stores happen one after the other, on whatever
    node.

    :param now: seconds since 1970.
    """

    def __init__(self, database: IDatabase, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def storage_used(self, user_id: int) -> int:
        """Return the bytes that a user stores; 0 for one never heard of."""
        rows = await self._database.fetch(statements.storage_used, user_id=user_id)
        return rows[0][0] if rows else 0

    async def prefixes(self, user_id: int) -> list[str]:
        """Return a user's prefixes, oldest first."""
        rows = await self._database.fetch(statements.prefixes_of, user_id=user_id)
        return [name for (name,) in rows]

    async def create_prefix(self, user_id: int, name: str) -> None:
        """Give a new prefix to a user.

        :raises NotOwner: if the prefix exists already.
        """
        if not await self._change(
            statements.create_prefix,
            prefix=name,
            user_id=user_id,
            now=self._timestamp(),
        ):
            raise NotOwner(name)

    async def target(self, name: ObjectName) -> Target | None:
        """Return what decides about a change, without a promise that it lasts.

        :return: ``None`` if there is no such prefix.
        """
        rows = await self._database.fetch(statements.target, **asdict(name))
        return _target(rows)

    async def find(self, name: ObjectName, month: str) -> Found | None:
        """Look an object up for reading.

        :param month: whose traffic to return, as ``YYYY-MM-01``.
        :return: ``None`` if there is no such object.
        """
        rows = await self._database.fetch(statements.find, **asdict(name), month=month)
        if not rows:
            return None
        *stored, owner_id, traffic = rows[0]
        return Found(StoredObject(*stored), owner_id, traffic)

    async def note_blob(self, key: str) -> str:
        """Note a blob that is about to get its final name as garbage.

        The note may be lost if the database crashes.

        :return: the note's time stamp, for
            :class:`~qabel_block.model.NotedBlob`.
        """
        noted = self._timestamp()
        await self._change(statements.note_blob, durable=False, blob_key=key, now=noted)
        return noted

    async def commit_upload(
        self,
        name: ObjectName,
        blob: NotedBlob,
        decide: Decision,
        claim_for: int | None,
    ) -> Change:
        """Make a blob the object of this name, if ``decide`` lets it.

        The blob that it replaces becomes garbage.

        :param claim_for: the user who gets the prefix if it does not exist.
        :raises NotOwner: if the prefix does not exist and nobody is to get it.
        :raises BlobCollected: if the blob's note is not there any more as it
            was noted.
        :raises Exception: what ``decide`` raised. After any of these nothing
            has changed.
        """
        now = self._timestamp()

        async def work(transaction: ITransaction) -> Change:
            target = await _lock_target(transaction, name)
            if target is None and claim_for is not None:
                await transaction.execute(
                    statements.create_prefix,
                    prefix=name.prefix,
                    user_id=claim_for,
                    now=now,
                )
                target = await _lock_target(transaction, name)
            if target is None:
                raise NotOwner(name.prefix)
            decide(target)
            grown = blob.size - (target.current.size if target.current else 0)
            if not await transaction.execute(
                statements.put_object,
                **asdict(name),
                **asdict(blob),
                now=now,
                owner_id=target.owner_id,
                grown=grown,
            ):
                raise BlobCollected(blob.blob_key)
            return Change(target.owner_id, grown)

        return await self._database.transact(work)

    async def delete(self, name: ObjectName, decide: Decision) -> Change | None:
        """Delete an object, if ``decide`` lets it. Its blob becomes garbage.

        :return: ``None`` if there was no object; ``decide`` was asked all the
            same.
        :raises NotOwner: if the prefix does not exist.
        :raises Exception: what ``decide`` raised. After either nothing has
            changed.
        """
        now = self._timestamp()

        async def work(transaction: ITransaction) -> Change | None:
            target = await _lock_target(transaction, name)
            if target is None:
                raise NotOwner(name.prefix)
            decide(target)
            if target.current is None:
                return None
            change = Change(target.owner_id, -target.current.size)
            await transaction.execute(
                statements.delete_object, **asdict(name), **asdict(change), now=now
            )
            return change

        return await self._database.transact(work)

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
            await self._change(statements.add_traffic, counts=json.dumps(records))

    async def claim_garbage(self, grace: float, limit: int) -> list[str]:
        """Return blobs that may be deleted now, and that no other node deletes.

        They count as noted anew from now on: a commit of one of them fails, and
        if they are not forgotten they are returned again after the grace
        period. A note is dropped if an object points at its blob, or if its key
        is none, so that no blob can have it.

        :param grace: seconds since the blob was noted.
        :param limit: the largest number to return, and to look at.
        """
        before, now = _timestamp(self._now() - grace), self._timestamp()

        async def work(transaction: ITransaction) -> list[str]:
            while rows := await transaction.fetch(
                statements.stale_notes, before=before, limit=limit
            ):
                keys = {key for (key,) in rows}
                garbage = keys - await _not_garbage(transaction, keys)
                if garbage != keys:
                    await transaction.execute(
                        statements.forget_notes, notes=_key_records(keys - garbage)
                    )
                if garbage:
                    await transaction.execute(
                        statements.renew_notes, notes=_key_records(garbage), now=now
                    )
                    return sorted(garbage)
            return []

        return await self._database.transact(work)

    async def forget_garbage(self, keys: Sequence[str]) -> None:
        """Drop the notes of blobs that are deleted."""
        await self._change(statements.forget_notes, notes=_key_records(keys))

    async def _change(
        self, statement: Statement, durable: bool = True, **parameters: object
    ) -> int:
        """Do a change that is one statement; return the number of rows touched."""

        async def work(transaction: ITransaction) -> int:
            return await transaction.execute(statement, **parameters)

        return await self._database.transact(work, durable)

    def _timestamp(self) -> str:
        return _timestamp(self._now())


def _timestamp(seconds: float) -> str:
    """Return a time in a form that sorts as text and that PostgreSQL casts."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="microseconds")


async def _lock_target(transaction: ITransaction, name: ObjectName) -> Target | None:
    return _target(await transaction.fetch(statements.lock_target, **asdict(name)))


def _target(rows: Sequence[Row]) -> Target | None:
    if not rows:
        return None
    owner_id, used, *stored = rows[0]
    return Target(owner_id, used, None if stored[0] is None else StoredObject(*stored))


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
            notes.append({**asdict(name), "blob_key": key})
    rows = await transaction.fetch(statements.pointed_at, notes=json.dumps(notes))
    return wrong.union(key for (key,) in rows)


def _key_records(keys: Iterable[str]) -> str:
    return json.dumps([{"blob_key": key} for key in sorted(keys)])
