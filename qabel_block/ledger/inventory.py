"""The ledger as the tools see it: as a whole, page by page."""

from __future__ import annotations

from collections.abc import Callable

from qabel_block.interfaces import IDatabase
from qabel_block.ledger import inventory_statements as statements
from qabel_block.ledger.timestamps import timestamp
from qabel_block.model import UserUsage


class Inventory:
    """Questions about all that is in the ledger.

    None of its methods returns more than a page. All raise
    :class:`~qabel_block.errors.Unavailable` if the database is down.

    :param now: seconds since 1970.
    """

    def __init__(self, database: IDatabase, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def count_garbage(self, grace: float) -> int:
        """Return how many blobs were noted as garbage so many seconds ago, or
        before."""
        before = timestamp(self._now() - grace)
        rows = await self._database.fetch(statements.count_garbage, before=before)
        return int(rows[0][0])

    async def top_by_storage(self, month: str, limit: int) -> list[UserUsage]:
        """Return the users who store most.

        :param month: whose traffic to return, as ``YYYY-MM-01``.
        """
        return await self._usage(statements.top_by_storage, month, limit)

    async def top_by_traffic(self, month: str, limit: int) -> list[UserUsage]:
        """Return the users from whom most was downloaded in a month."""
        return await self._usage(statements.top_by_traffic, month, limit)

    async def _usage(
        self, statement: statements.Statement, month: str, limit: int
    ) -> list[UserUsage]:
        rows = await self._database.fetch(statement, month=month, limit=limit)
        return [UserUsage(*row) for row in rows]
