"""Restic repositories in the ledger (PROTOCOL section 11)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from datetime import datetime, timezone

from qabel_block.errors import NotOwner
from qabel_block.ledger import prefix_queries, repository_queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction
from qabel_block.model import RepositoryUsage
from qabel_block.names import CONTROL_TYPES

FILES = 2000
"""Files of a page."""

_LAST_ID = "f" * 64


def files_of_type(kind: str) -> tuple[str, str]:
    """Return the range of paths of a type's files: after the first, up to the last.

    All that is of one type has names of one length, in lower-case hexadecimal, so
    any collation that a database may have keeps this order.
    """
    return f"{kind}/", f"{kind}/{_LAST_ID}"


class RepositoryTable:
    """Which repositories there are, and what they hold.

    All methods raise :class:`~qabel_block.errors.Unavailable` if the database is
    down.
    """

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def create(self, user_id: int, name: str, prefix: str) -> bool:
        """Give a user a repository below a new prefix.

        :return: whether it is new; if the user has one of this name, nothing changes.
        :raises NotOwner: if the prefix exists already.
        """

        async def work(transaction: ITransaction) -> bool:
            if not await transaction.execute(
                prefix_queries.create_prefix, prefix=prefix, user_id=user_id
            ):
                raise NotOwner
            if await transaction.execute(
                repository_queries.create_repository,
                user_id=user_id,
                name=name,
                prefix=prefix,
            ):
                return True
            await transaction.execute(prefix_queries.drop_prefix, prefix=prefix)
            return False

        return await self._database.transact(work)

    async def prefix(self, user_id: int, name: str) -> str | None:
        """Return the prefix of a user's repository, if there is one of this name."""
        rows = await self._database.fetch(
            repository_queries.repository_prefix, user_id=user_id, name=name
        )
        return rows[0][0] if rows else None

    async def files(
        self, prefix: str, kind: str
    ) -> AsyncGenerator[list[tuple[str, int]], None]:
        """Return the path and the size in bytes of each file of one type, in order,
        page by page."""
        after, last = files_of_type(kind)
        full = True
        while full and (
            page := await self._database.fetch(
                repository_queries.file_page,
                prefix=prefix,
                after=after,
                last=last,
                limit=FILES,
            )
        ):
            yield [(path, size) for path, size in page]
            after, full = page[-1][0], len(page) == FILES

    async def usage(self, user_id: int | None = None) -> list[RepositoryUsage]:
        """Return what repositories hold, those of one user or all."""
        after, last = files_of_type("snapshots")
        if user_id is None:
            rows = await self._database.fetch(
                repository_queries.usage, after=after, last=last
            )
        else:
            rows = await self._database.fetch(
                repository_queries.usage_of, after=after, last=last, user_id=user_id
            )
        return [
            RepositoryUsage(user_id, user, name, files, size, _iso_8601(snapshot))
            for user_id, user, name, files, size, snapshot in rows
        ]


async def read_control_sizes(
    transaction: ITransaction, prefixes: Iterable[str]
) -> dict[str, int]:
    """Return for each prefix the bytes of its repository's control files.

    The owner's row must be locked, so that they stay what they are.
    """
    sizes = dict.fromkeys(prefixes, 0)
    rows = await transaction.fetch(
        repository_queries.control_sizes, ranges=control_ranges(sizes)
    )
    return sizes | dict(rows)


def control_ranges(prefixes: Iterable[str]) -> str:
    """Return where control files are, as the records that statements take."""
    ranges = [files_of_type(kind) for kind in sorted(CONTROL_TYPES)]
    return json.dumps(
        [
            {"prefix": prefix, "after": after, "last": last}
            for prefix in prefixes
            for after, last in ranges
        ]
    )


def _iso_8601(moment: datetime | str | None) -> str | None:
    if isinstance(moment, datetime):
        return moment.astimezone(timezone.utc).isoformat()
    return moment
