"""What the tools ask of the ledger's database (:mod:`qabel_block.ledger.inventory`).

As in :mod:`qabel_block.ledger.statements`, each is compiled once, and its
parameters are named in a comment.
"""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Date,
    and_,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql.selectable import Select

from qabel_block.ledger.dialects import Statement, statement
from qabel_block.ledger.schema import garbage, traffic, users

__all__ = ["Statement"]

_ZERO: ColumnElement[int] = literal_column("0")

_stored = func.coalesce(users.c.size, _ZERO)
_downloaded = func.coalesce(traffic.c.traffic, _ZERO)
_month = bindparam("month", type_=Date())

count_garbage = statement(
    select(func.count())
    .select_from(garbage)
    .where(garbage.c.since <= bindparam("before"))
)
"""``before``. Rows: (how many blobs)."""


def _limited(rows: Select[tuple[int, int, int]]) -> Select[tuple[int, int, int]]:
    return rows.limit(bindparam("limit")).offset(_ZERO)


top_by_storage = statement(
    _limited(
        select(users.c.user_id, _stored, _downloaded)
        .select_from(
            users.outerjoin(
                traffic,
                and_(
                    traffic.c.user_id == users.c.user_id,
                    traffic.c.traffic_month == _month,
                ),
            )
        )
        .order_by(_stored.desc(), users.c.user_id)
    )
)
"""``month, limit``. Rows: (user, bytes stored, the month's traffic), most stored
first."""

top_by_traffic = statement(
    _limited(
        select(traffic.c.user_id, _stored, _downloaded)
        .select_from(traffic.outerjoin(users, users.c.user_id == traffic.c.user_id))
        .where(traffic.c.traffic_month == _month)
        .order_by(_downloaded.desc(), traffic.c.user_id)
    )
)
"""``month, limit``. Rows: (user, bytes stored, the month's traffic), most traffic
first; none without traffic in that month."""
