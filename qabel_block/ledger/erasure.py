"""Deletes all that is below a prefix, and the prefix itself."""

from __future__ import annotations

import json

from attrs import frozen

from qabel_block.ledger import change_queries, repository_queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction
from qabel_block.ledger.write_states import lock_write_states
from qabel_block.model import ObjectName

OBJECTS = 1000
"""Objects that are deleted in one transaction."""


@frozen
class Erased:
    """What one step has deleted.

    :ivar keys: of the blobs, which are noted as garbage.
    :ivar size: their bytes.
    """

    keys: list[str]
    size: int


class Erasure:
    """Deletes prefixes in steps, each of which may be the last for now."""

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def erase_some(self, prefix: str) -> Erased:
        """Delete some objects below a prefix; all of their blobs become garbage.

        :return: what was deleted; no key if nothing is left.
        :raises Unavailable: if the database is down.
        """

        async def work(transaction: ITransaction) -> Erased:
            (state,) = await lock_write_states(transaction, [ObjectName(prefix, "")])
            if state is None:
                return Erased([], 0)
            rows = await transaction.fetch(
                repository_queries.erase_page, prefix=prefix, limit=OBJECTS
            )
            if not rows:
                return Erased([], 0)
            records = [
                {
                    "prefix": prefix,
                    "path": path,
                    "owner_id": state.owner_id,
                    "grown": -size,
                    "freed": size,
                }
                for path, _, size in rows
            ]
            await transaction.finish(
                change_queries.delete_objects, uploads=json.dumps(records)
            )
            return Erased(
                sorted(key for _, key, _ in rows), sum(size for _, _, size in rows)
            )

        return await self._database.transact(work)

    async def drop(self, prefix: str) -> bool:
        """Drop a prefix, and the name of the repository whose it is, if there is no
        object below it: nothing can be stored there any more.

        :return: whether it is gone.
        :raises Unavailable: if the database is down.
        """

        async def work(transaction: ITransaction) -> bool:
            (state,) = await lock_write_states(transaction, [ObjectName(prefix, "")])
            if state is None:
                return True
            if await transaction.fetch(
                repository_queries.erase_page, prefix=prefix, limit=1
            ):
                return False
            await transaction.finish(repository_queries.drop_prefix, prefix=prefix)
            return True

        return await self._database.transact(work)
