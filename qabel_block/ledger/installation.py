"""The installation's id in the ledger: one row, written at first use."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import ClauseElement, bindparam, literal_column, select, update

from qabel_block.ledger import maintenance_queries
from qabel_block.ledger.interfaces import IDatabase, ITransaction, Row
from qabel_block.ledger.schema import installation
from qabel_block.ledger.sql import Dialect, Statement
from qabel_block.model import Installation

SAMPLE = 16
"""Blobs of one part of a sample."""

read_installation = Statement(select(installation.c.id, installation.c.confirmed))
"""Rows: (id, since when a storage is known to have it or ``NULL``), at most one."""


def _create(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(installation).values(
        only_row=literal_column("1"), id=bindparam("id")
    )
    return insert.on_conflict_do_nothing(index_elements=["only_row"])


create_installation = Statement(_create)
"""``id``. Changes nothing if there is a row."""

confirm_installation = Statement(
    lambda dialect: update(installation).values(
        id=bindparam("new_id"),
        confirmed=dialect.now,
    )
)
"""``new_id``."""


class InstallationRecord:
    """The ledger's side of an installation's identity.

    All methods raise :class:`~qabel_block.errors.Unavailable` if the database is
    down.
    """

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def read(self) -> Installation:
        """Return the ledger's id. At first use it gets one, the same for all nodes."""
        rows = await self._database.fetch(read_installation)
        if not rows:
            rows = await self._database.transact(_create_row)
        ((id_, confirmed),) = rows
        return Installation(id_, confirmed is not None)

    async def confirm(self, installation_id: str) -> None:
        """Note that the storage has this id, which becomes the ledger's."""

        async def work(transaction: ITransaction) -> None:
            await transaction.finish(confirm_installation, new_id=installation_id)

        await self._database.transact(work)

    async def blob_sample(self) -> list[str]:
        """Return the keys of some objects' blobs; none if there are no objects.

        They are the first ones and those behind a random prefix.
        """
        keys: dict[str, None] = {}
        for after in ("", str(uuid4())):
            rows = await self._database.fetch(
                maintenance_queries.object_page,
                after_prefix=after,
                after_path="",
                limit=SAMPLE,
            )
            keys.update(dict.fromkeys(key for _, _, key, *_ in rows))
        return list(keys)


async def _create_row(transaction: ITransaction) -> list[Row]:
    await transaction.execute(create_installation, id=str(uuid4()))
    return await transaction.fetch(read_installation)
