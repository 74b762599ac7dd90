"""Everything the ledger asks of its database, in SQLAlchemy Core.

Compiled once, when this module is imported. The names of parameters are in the
comments of the statements; time stamps and months are text
(:mod:`qabel_block.ledger.schema`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Date,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    true,
    update,
)

from qabel_block.ledger.dialects import Dialect, Statement, statement
from qabel_block.ledger.schema import (
    alembic_version,
    garbage,
    objects,
    prefixes,
    traffic,
    users,
)

__all__ = ["Statement"]

_ZERO: ColumnElement[int] = literal_column("0")
_this_object = and_(
    objects.c.prefix == bindparam("prefix"), objects.c.path == bindparam("path")
)
_stored = (objects.c.blob_key, objects.c.size, objects.c.etag, objects.c.sha256)


def _lock_owner(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(users).from_select(
        ["user_id", "size"],
        select(prefixes.c.user_id, _ZERO).where(prefixes.c.name == bindparam("prefix")),
    )
    # A row that exists is locked whether or not it is then updated.
    return insert.on_conflict_do_update(
        index_elements=["user_id"],
        set_={"size": insert.excluded.size},
        where=users.c.size.is_(None),
    )


def _note_current_as_garbage(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(garbage).from_select(
        ["blob_key", "since"],
        select(objects.c.blob_key, bindparam("now", type_=garbage.c.since.type)).where(
            _this_object
        ),
    )
    return insert.on_conflict_do_update(
        index_elements=["blob_key"], set_={"since": insert.excluded.since}
    )


def _put_object(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(objects).values(
        prefix=bindparam("prefix"),
        path=bindparam("path"),
        blob_key=bindparam("blob_key"),
        size=bindparam("size"),
        etag=bindparam("etag"),
        sha256=bindparam("sha256"),
        created=bindparam("now"),
    )
    return insert.on_conflict_do_update(
        index_elements=["prefix", "path"],
        set_={
            name: insert.excluded[name]
            for name in ("blob_key", "size", "etag", "sha256", "created")
        },
    )


def _note(dialect: Dialect) -> ClauseElement:
    insert = dialect.insert(garbage).values(
        blob_key=bindparam("blob_key"), since=bindparam("now")
    )
    return insert.on_conflict_do_update(
        index_elements=["blob_key"], set_={"since": insert.excluded.since}
    )


def _create_prefix(dialect: Dialect) -> ClauseElement:
    return (
        dialect.insert(prefixes)
        .values(
            name=bindparam("prefix"),
            user_id=bindparam("user_id"),
            created=bindparam("now"),
        )
        .on_conflict_do_nothing(index_elements=["name"])
    )


def _add_traffic(dialect: Dialect) -> ClauseElement:
    counts = dialect.records(
        "counts", user_id=Integer(), month=Date(), traffic=BigInteger()
    )
    # In this order everywhere, so that two nodes can't wait for each other;
    # SQLite can't parse the statement without a WHERE.
    rows = (
        select(counts.c.user_id, counts.c.month, counts.c.traffic)
        .where(true())
        .order_by(counts.c.user_id, counts.c.month)
    )
    insert = dialect.insert(traffic).from_select(
        ["user_id", "traffic_month", "traffic"], rows
    )
    before = func.coalesce(traffic.c.traffic, _ZERO)
    return insert.on_conflict_do_update(
        index_elements=["user_id", "traffic_month"],
        set_={"traffic": before + insert.excluded.traffic},
    )


def _pointed_at(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", prefix=Text(), path=Text(), blob_key=Text())
    return select(objects.c.blob_key).join(
        notes,
        and_(
            objects.c.prefix == notes.c.prefix,
            objects.c.path == notes.c.path,
            objects.c.blob_key == notes.c.blob_key,
        ),
    )


def _is_noted(dialect: Dialect) -> ColumnElement[bool]:
    notes = dialect.records("notes", blob_key=Text())
    return garbage.c.blob_key.in_(select(notes.c.blob_key))


def _target() -> Select[Any]:
    return (
        select(prefixes.c.user_id, func.coalesce(users.c.size, _ZERO), *_stored)
        .select_from(prefixes)
        .outerjoin(users, users.c.user_id == prefixes.c.user_id)
        .outerjoin(objects, _this_object)
        .where(prefixes.c.name == bindparam("prefix"))
    )


_grow_owner = (
    update(users)
    .where(users.c.user_id == bindparam("owner_id"))
    .values(size=users.c.size + bindparam("grown"))
)

revision = statement(select(alembic_version.c.version_num))
"""Rows: (revision of the schema)."""

storage_used = statement(
    select(func.coalesce(users.c.size, _ZERO)).where(
        users.c.user_id == bindparam("user_id")
    )
)
"""``user_id``. Rows: (bytes)."""

prefixes_of = statement(
    select(prefixes.c.name)
    .where(prefixes.c.user_id == bindparam("user_id"))
    .order_by(prefixes.c.created, prefixes.c.name)
)
"""``user_id``. Rows: (prefix), oldest first."""

create_prefix = statement(_create_prefix)
"""``prefix, user_id, now``. Touches no row if somebody has the prefix."""

target = statement(_target())
"""``prefix, path``. Rows: (owner, bytes used, then the object's blob key, size,
ETag and SHA-256, all ``NULL`` if there is none); no row without the prefix."""

lock_target = statement(_lock_owner, _target())
"""As ``target``, for a change: the owner's row in ``users`` is locked, made if
there is none, and its size no longer ``NULL``. What is read is read by a second
statement: one that had to wait for the lock would still see the object as it
was before."""

find = statement(
    select(*_stored, prefixes.c.user_id, func.coalesce(traffic.c.traffic, _ZERO))
    .select_from(objects)
    .join(prefixes, prefixes.c.name == objects.c.prefix)
    .outerjoin(
        traffic,
        and_(
            traffic.c.user_id == prefixes.c.user_id,
            traffic.c.traffic_month == bindparam("month"),
        ),
    )
    .where(_this_object)
)
"""``prefix, path, month``. Rows: (blob key, size, ETag, SHA-256, owner, the
owner's traffic of the month)."""

note_blob = statement(_note)
"""``blob_key, now``."""

put_object = statement(
    _note_current_as_garbage,
    _put_object,
    _grow_owner,
    delete(garbage).where(
        garbage.c.blob_key == bindparam("blob_key"),
        garbage.c.since == bindparam("noted"),
    ),
)
"""``prefix, path, blob_key, size, etag, sha256, now, owner_id, grown, noted``.
Touches one row if the new blob's note was there as it was noted."""

delete_object = statement(
    _note_current_as_garbage, _grow_owner, delete(objects).where(_this_object)
)
"""``prefix, path, now, owner_id, grown``. Touches the object's row."""

add_traffic = statement(_add_traffic)
"""``counts``: records of (user_id, month, traffic), no two of the same user and
month."""

stale_notes = statement(
    select(garbage.c.blob_key)
    .where(garbage.c.since <= bindparam("before"))
    .order_by(garbage.c.since)
    .limit(bindparam("limit"))
    .offset(_ZERO)
    .with_for_update(skip_locked=True)
)
"""``before, limit``. Rows: (blob key), locked, none that somebody else holds."""

pointed_at = statement(_pointed_at)
"""``notes``: records of (prefix, path, blob_key). Rows: (blob key)."""

renew_notes = statement(
    lambda dialect: (
        update(garbage).where(_is_noted(dialect)).values(since=bindparam("now"))
    )
)
"""``notes``: records of (blob_key); ``now``."""

forget_notes = statement(lambda dialect: delete(garbage).where(_is_noted(dialect)))
"""``notes``: records of (blob_key)."""
