"""What single users store, and when they last did."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    select,
)

from qabel_block.ledger.interfaces import IDatabase, Row
from qabel_block.ledger.schema import accounts, users
from qabel_block.ledger.sql import ZERO, Statement

USERS = 2000
"""Users of a page."""

_after = bindparam("after", type_=Integer())


def _page(found: Select[tuple[object, ...]], by: ColumnElement[int]) -> ClauseElement:
    return found.where(by > _after).order_by(by).limit(bindparam("limit")).offset(ZERO)


_stored = (func.coalesce(users.c.size, ZERO), func.coalesce(users.c.latest, ZERO))
_with_account = users.outerjoin(accounts, accounts.c.user_id == users.c.user_id)

stored_page = Statement(
    _page(
        select(
            users.c.user_id, accounts.c.name, accounts.c.storage_quota, *_stored
        ).select_from(_with_account),
        users.c.user_id,
    )
)
"""``after, limit``. Rows: (user, name, quota, bytes stored, milliseconds since 1970 of
the last upload or 0), by user; name and quota only of built-in users."""

idle_page = Statement(
    _page(
        select(accounts.c.user_id, accounts.c.name, accounts.c.storage_quota, *_stored)
        .select_from(accounts.outerjoin(users, users.c.user_id == accounts.c.user_id))
        .where(and_(accounts.c.name.is_not(None), users.c.user_id.is_(None))),
        accounts.c.user_id,
    )
)
"""The same, of built-in users who have never stored anything."""


class UserUsageTable:
    """What the ledger says of all users.

    All methods raise :class:`~qabel_block.errors.Unavailable` if the database is down.
    """

    def __init__(self, database: IDatabase) -> None:
        self._database = database

    async def users(self) -> AsyncGenerator[list[Row], None]:
        """Return (user, name, quota, bytes stored, milliseconds since 1970 of the last
        upload or 0) of each, page by page."""
        for page in (stored_page, idle_page):
            after = -(2**31)
            while rows := await self._database.fetch(page, after=after, limit=USERS):
                yield rows
                after = rows[-1][0]
