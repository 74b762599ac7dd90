"""Reads and corrects the whole ledger page by page, for the tools."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime

from attrs import frozen

from qabel_block.ledger import maintenance_queries as statements
from qabel_block.ledger.garbage_queries import referenced
from qabel_block.ledger.interfaces import IDatabase, ITransaction
from qabel_block.ledger.reconcile import (
    Rule,
    blob_records,
    drop,
    import_blobs,
    note_unknown,
    object_records,
    read_states,
)
from qabel_block.ledger.sql import Statement
from qabel_block.model import (
    BlobRecord,
    ImportedBlob,
    LedgerObject,
    ListedBlob,
    ObjectName,
    SizeMismatch,
    UserUsage,
)

USERS = 200
"""Users of a page."""

PREFIXES = 500
"""Prefixes of a page."""

OBJECTS = 1000
"""Objects of a page."""

ADOPT = "adopt"
"""The task in the table of what is unfinished."""

_BEFORE_ALL = -(2**31)


@frozen
class NotedGarbage:
    """All blobs that are garbage and not deleted yet.

    :ivar oldest: since when the first of them is; ``None`` if there is none.
    """

    count: int
    oldest: datetime | None
    newest: datetime | None


class Maintenance:
    """Questions about all that is in the ledger, and what mends it.

    Nothing returns more than a page at a time. All methods raise
    :class:`~qabel_block.errors.Unavailable` if the database is down.
    """

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def users(self) -> AsyncGenerator[list[int], None]:
        """Return all users who store or own something, page by page, in order."""
        after = _BEFORE_ALL
        while rows := await self._database.fetch(
            statements.user_page, after=after, limit=USERS
        ):
            page = [user_id for (user_id,) in rows]
            after = page[-1]
            yield page

    async def prefixes(
        self, first: int, last: int
    ) -> AsyncGenerator[list[tuple[int, str]], None]:
        """Return the prefixes of all users from the first to the last, each with
        its owner, page by page."""
        after = (first, "")
        while rows := await self._database.fetch(
            statements.prefix_page,
            last_user=last,
            after_user=after[0],
            after_prefix=after[1],
            limit=PREFIXES,
        ):
            after = rows[-1]
            yield [(user_id, name) for user_id, name in rows]

    async def has_prefixes(self) -> bool:
        """Say whether anybody owns a prefix."""
        return bool(await self._database.fetch(statements.any_prefix))

    async def known_prefixes(self, names: Iterable[str]) -> set[str]:
        """Return those of some prefixes that somebody owns."""
        records = json.dumps([{"prefix": name} for name in names])
        rows = await self._database.fetch(statements.prefix_owners, names=records)
        return {name for (name,) in rows}

    async def sizes(self, users: Iterable[int]) -> list[SizeMismatch]:
        """Return what the ledger says that users store, and what it should say; in
        the order of users."""
        rows = await self._database.fetch(statements.sums, users=_users(users))
        return [SizeMismatch(*row) for row in sorted(rows)]

    async def correct_sizes(self, users: Iterable[int]) -> list[SizeMismatch]:
        """Make what the ledger says that users store the sum of their objects.

        :return: how it was; those for whom it was right are left out.
        """

        async def work(transaction: ITransaction) -> list[SizeMismatch]:
            rows = await transaction.fetch(statements.lock_users, users=_users(users))
            wrong = [size for size in (SizeMismatch(*r) for r in rows) if _wrong(size)]
            records = [{"user_id": w.user_id, "size": w.total} for w in wrong]
            if records:
                await transaction.execute(
                    statements.correct_sizes, sizes=json.dumps(records)
                )
            return wrong

        return await self._database.transact(work)

    async def begin_adoption(self) -> None:
        """From now on, what is uploaded or deleted replaces a blob of the legacy
        server that is not adopted yet."""
        await self._change(statements.begin_task, task=ADOPT)

    async def end_adoption(self) -> None:
        """All is adopted."""
        await self._change(statements.end_task, task=ADOPT)

    async def states(self, blobs: Sequence[ListedBlob]) -> list[BlobRecord]:
        """Return what the ledger knows of some blobs, all at the same moment."""
        rows = await self._database.fetch(statements.states, blobs=blob_records(blobs))
        return read_states(blobs, rows)

    async def objects(self) -> AsyncGenerator[list[LedgerObject], None]:
        """Return all objects, page by page."""
        after = ("", "")
        while rows := await self._database.fetch(
            statements.object_page,
            after_prefix=after[0],
            after_path=after[1],
            limit=OBJECTS,
        ):
            after = rows[-1][:2]
            yield [_object(*row) for row in rows]

    async def count_objects(self) -> int:
        """Return how many objects there are."""
        return int((await self._database.fetch(statements.count_objects))[0][0])

    async def unchanged(self, objects: Sequence[LedgerObject]) -> list[LedgerObject]:
        """Return those objects that are as they were."""
        rows = await self._database.fetch(referenced, notes=object_records(objects))
        keys = {key for (key,) in rows}
        return [one for one in objects if one.blob_key in keys]

    async def drop_objects(self, objects: Sequence[LedgerObject]) -> list[LedgerObject]:
        """Forget objects whose blobs are not there, those that are as they were.

        :return: the forgotten ones.
        """

        async def work(transaction: ITransaction) -> list[LedgerObject]:
            return await drop(transaction, objects)

        return await self._database.transact(work)

    async def note_unknown(self, blobs: Sequence[ListedBlob]) -> list[str]:
        """Note blobs as garbage, those of which the ledger knows nothing.

        From then on nobody else makes objects of them.

        :return: the keys of the noted ones.
        """

        async def work(transaction: ITransaction) -> list[str]:
            return await note_unknown(transaction, blobs)

        return await self._database.transact(work)

    async def import_blobs(
        self, entries: Sequence[ImportedBlob], rule: Rule
    ) -> list[bool]:
        """Make blobs objects, those for which ``rule`` and the ledger allow it.

        The ledger does not allow it where the prefix does not exist, or the blob is
        noted as garbage. Uploads, deletions and this happen one after the other.

        :return: for each whether it was done.
        """

        async def work(transaction: ITransaction) -> list[bool]:
            return await import_blobs(transaction, entries, rule)

        return await self._database.transact(work)

    async def count_garbage(self, grace: float) -> int:
        """Return how many blobs were noted as garbage so many seconds ago, or
        before."""
        rows = await self._database.fetch(statements.count_garbage, age=grace)
        return int(rows[0][0])

    async def noted_garbage(self) -> NotedGarbage:
        """Return what is noted as garbage, by the database's clock."""
        ((count, oldest, newest),) = await self._database.fetch(statements.garbage_ages)
        return NotedGarbage(count, *(_moment(since) for since in (oldest, newest)))

    async def top_by_storage(self, month: str, limit: int) -> list[UserUsage]:
        """Return the users who store most.

        :param month: whose traffic to return, as ``YYYY-MM-01``.
        """
        return await self._usage(statements.top_by_storage, month, limit)

    async def top_by_traffic(self, month: str, limit: int) -> list[UserUsage]:
        """Return the users from whom most was downloaded in a month."""
        return await self._usage(statements.top_by_traffic, month, limit)

    async def _change(self, statement: Statement, **parameters: object) -> int:
        async def work(transaction: ITransaction) -> int:
            return await transaction.execute(statement, **parameters)

        return await self._database.transact(work)

    async def _usage(
        self, statement: Statement, month: str, limit: int
    ) -> list[UserUsage]:
        rows = await self._database.fetch(statement, month=month, limit=limit)
        return [UserUsage(*row) for row in rows]


def _object(
    prefix: str, path: str, key: str, size: int, sha256: str | None, owner: int | None
) -> LedgerObject:
    name = ObjectName(prefix, path)
    return LedgerObject(name, key, size, sha256, owned=owner is not None)


def _users(users: Iterable[int]) -> str:
    return json.dumps([{"user_id": user_id} for user_id in users])


def _wrong(size: SizeMismatch) -> bool:
    return size.kept != size.total


def _moment(stored: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
