"""What downloads ask of the database, in SQLAlchemy Core: objects and traffic.

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Date,
    Integer,
    Text,
    and_,
    func,
    not_,
    select,
)

from qabel_block.ledger.change_queries import STORED, is_named
from qabel_block.ledger.prefix_queries import is_erased
from qabel_block.ledger.schema import objects, prefixes, traffic
from qabel_block.ledger.sql import ZERO, Dialect, Statement


def _find(dialect: Dialect) -> ClauseElement:
    names = dialect.records(
        "names", n=Integer(), prefix=Text(), path=Text(), month=Date()
    )
    return select(
        names.c.n, *STORED, prefixes.c.user_id, func.coalesce(traffic.c.traffic, ZERO)
    ).select_from(
        names.join(objects, is_named(names))
        .join(prefixes, prefixes.c.name == objects.c.prefix)
        .outerjoin(
            traffic,
            and_(
                traffic.c.user_id == prefixes.c.user_id,
                traffic.c.traffic_month == names.c.month,
            ),
        )
    )


def _add_traffic(dialect: Dialect) -> ClauseElement:
    counts = dialect.records(
        "counts", user_id=Integer(), month=Date(), traffic=BigInteger()
    )
    # In this order everywhere, so that two nodes can't wait for each other.
    rows = (
        select(counts.c.user_id, counts.c.month, counts.c.traffic)
        .where(not_(is_erased(counts.c.user_id)))
        .order_by(counts.c.user_id, counts.c.month)
    )
    insert = dialect.insert(traffic).from_select(
        ["user_id", "traffic_month", "traffic"], rows
    )
    before = func.coalesce(traffic.c.traffic, ZERO)
    return insert.on_conflict_do_update(
        index_elements=["user_id", "traffic_month"],
        set_={"traffic": before + insert.excluded.traffic},
    )


find = Statement(_find)
"""``names``: records of (n, prefix, path, month). Rows: (n, blob key, size, ETag,
SHA-256, owner, the owner's traffic of the month)."""

add_traffic = Statement(_add_traffic)
"""``counts``: records of (user_id, month, traffic), no two of the same user and
month."""
