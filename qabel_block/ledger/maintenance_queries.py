"""What the tools ask of the ledger's database (:mod:`qabel_block.ledger.maintenance`).

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Date,
    Float,
    FromClause,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    select,
    true,
    tuple_,
    union,
    update,
)
from sqlalchemy.sql.selectable import Select

from qabel_block.ledger.schema import (
    garbage,
    objects,
    prefixes,
    traffic,
    unfinished,
    users,
)
from qabel_block.ledger.sql import ONE, ZERO, Dialect, Statement

_stored = func.coalesce(users.c.size, ZERO)
_downloaded = func.coalesce(traffic.c.traffic, ZERO)
_month = bindparam("month", type_=Date())

count_garbage = Statement(
    lambda dialect: (
        select(func.count())
        .select_from(garbage)
        .where(garbage.c.since <= dialect.ago(bindparam("age", type_=Float())))
    )
)
"""``age`` in seconds. Rows: (how many blobs)."""

garbage_ages = Statement(
    select(
        func.count(), func.min(garbage.c.since), func.max(garbage.c.since)
    ).select_from(garbage)
)
"""Rows: (how many blobs, since when the oldest and the newest)."""


def _limited(rows: Select[tuple[int, int, int]]) -> Select[tuple[int, int, int]]:
    return rows.limit(bindparam("limit")).offset(ZERO)


top_by_storage = Statement(
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

top_by_traffic = Statement(
    _limited(
        select(traffic.c.user_id, _stored, _downloaded)
        .select_from(traffic.outerjoin(users, users.c.user_id == traffic.c.user_id))
        .where(traffic.c.traffic_month == _month)
        .order_by(_downloaded.desc(), traffic.c.user_id)
    )
)
"""``month, limit``. Rows: (user, bytes stored, the month's traffic), most traffic
first; none without traffic in that month."""


def _user_ids(dialect: Dialect) -> FromClause:
    return dialect.records("users", user_id=Integer())


def _user_page(column: ColumnElement[int]) -> Select[tuple[int]]:
    """A page of one of the two tables that know of users."""
    page = (
        select(column.label("user_id"))
        .distinct()
        .where(column > bindparam("after"))
        .order_by(column)
        .limit(bindparam("limit"))
        .offset(ZERO)
        .subquery()
    )
    return select(page.c.user_id)


_every_user = union(
    _user_page(users.c.user_id), _user_page(prefixes.c.user_id)
).subquery()

user_page = Statement(
    select(_every_user.c.user_id)
    .order_by(_every_user.c.user_id)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``after, limit``. Rows: (user), in order, whoever stores or owns something."""

prefix_page = Statement(
    select(prefixes.c.user_id, prefixes.c.name)
    .where(
        and_(
            prefixes.c.user_id <= bindparam("last_user"),
            tuple_(prefixes.c.user_id, prefixes.c.name)
            > tuple_(bindparam("after_user"), bindparam("after_prefix")),
        )
    )
    .order_by(prefixes.c.user_id, prefixes.c.name)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``last_user, after_user, after_prefix, limit``. Rows: (user, prefix), in order."""


any_prefix = Statement(select(prefixes.c.name).limit(ONE).offset(ZERO))
"""Rows: (prefix), one of them if there are any."""


def _sums(dialect: Dialect) -> Select[tuple[int, int, int]]:
    """What users store: as it is kept, and as it is."""
    ids = _user_ids(dialect)
    total = (
        select(cast(func.coalesce(func.sum(objects.c.size), ZERO), BigInteger))
        .select_from(prefixes.join(objects, objects.c.prefix == prefixes.c.name))
        .where(prefixes.c.user_id == ids.c.user_id)
        .scalar_subquery()
        .label("total")
    )
    return select(
        ids.c.user_id, func.coalesce(users.c.size, ZERO).label("kept"), total
    ).select_from(ids.outerjoin(users, users.c.user_id == ids.c.user_id))


def _lock_users(dialect: Dialect) -> ClauseElement:
    ids = _user_ids(dialect)
    # As for every change, in the order in which all locks are taken.
    rows = select(ids.c.user_id, ZERO).where(true()).order_by(ids.c.user_id)
    insert = dialect.insert(users).from_select(["user_id", "size"], rows)
    return insert.on_conflict_do_update(
        index_elements=["user_id"],
        set_={"size": insert.excluded.size},
        where=users.c.size.is_(None),
    )


def _correct(dialect: Dialect) -> ClauseElement:
    right = dialect.records("sizes", user_id=Integer(), size=BigInteger())
    return (
        update(users)
        .where(users.c.user_id == right.c.user_id)
        .values(size=right.c.size)
    )


sums = Statement(_sums)
"""``users``: records of (user_id). Rows: (user, bytes as kept, bytes of all
objects), both at the same moment."""

lock_users = Statement(_lock_users, _sums)
"""As ``sums``, for a correction: the users' rows are locked, made if there are
none."""

correct_sizes = Statement(_correct)
"""``sizes``: records of (user_id, size)."""

prefix_owners = Statement(
    lambda dialect: select(prefixes.c.name).where(
        prefixes.c.name.in_(select(dialect.records("names", prefix=Text()).c.prefix))
    )
)
"""``names``: records of (prefix). Rows: (prefix), of those that exist."""


def _blobs(dialect: Dialect) -> FromClause:
    return dialect.records(
        "blobs", n=Integer(), prefix=Text(), path=Text(), blob_key=Text()
    )


def _states(dialect: Dialect) -> ClauseElement:
    blobs = _blobs(dialect)
    return select(
        blobs.c.n, objects.c.blob_key, garbage.c.blob_key.is_not(None)
    ).select_from(
        blobs.outerjoin(
            objects,
            and_(objects.c.prefix == blobs.c.prefix, objects.c.path == blobs.c.path),
        ).outerjoin(garbage, garbage.c.blob_key == blobs.c.blob_key)
    )


states = Statement(_states)
"""``blobs``: records of (n, prefix, path, blob_key). Rows: (n, key of the blob that
is the object of this name or ``NULL``, whether the blob is noted as garbage)."""


def _begin_task(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(unfinished).values(
        task=bindparam("task"), since=dialect.now
    )
    return insert.on_conflict_do_nothing(index_elements=["task"])


begin_task = Statement(_begin_task)
"""``task``."""

end_task = Statement(delete(unfinished).where(unfinished.c.task == bindparam("task")))
"""``task``."""


object_page = Statement(
    select(
        objects.c.prefix,
        objects.c.path,
        objects.c.blob_key,
        objects.c.size,
        objects.c.sha256,
        prefixes.c.user_id,
    )
    .select_from(objects.outerjoin(prefixes, prefixes.c.name == objects.c.prefix))
    .where(
        tuple_(objects.c.prefix, objects.c.path)
        > tuple_(bindparam("after_prefix"), bindparam("after_path"))
    )
    .order_by(objects.c.prefix, objects.c.path)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``after_prefix, after_path, limit``. Rows: (prefix, path, blob key, size, SHA-256,
owner or ``NULL``), in order."""

count_objects = Statement(select(func.count()).select_from(objects))
"""Rows: (how many objects)."""
