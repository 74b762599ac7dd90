"""Notes of garbage, in SQLAlchemy Core: blobs that no object points at.

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    true,
    update,
)

from qabel_block.ledger.owner_locks import is_locked, limit_owner_wait, lock_owners
from qabel_block.ledger.schema import garbage, objects, users
from qabel_block.ledger.sql import ZERO, Dialect, Statement


def _lock_free_note_owners(dialect: Dialect) -> ClauseElement | None:
    return lock_owners(dialect, _note_owners(dialect), skip_locked=True)


def _wait_for_note_owners(dialect: Dialect) -> ClauseElement | None:
    return lock_owners(dialect, _note_owners(dialect), skip_locked=False)


def _note_blobs(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", blob_key=Text())
    rows = select(notes.c.blob_key, dialect.now).where(true())
    insert = dialect.insert(garbage).from_select(["blob_key", "since"], rows)
    return insert.on_conflict_do_update(
        index_elements=["blob_key"], set_={"since": insert.excluded.since}
    )


def _noted(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", n=Integer(), blob_key=Text())
    return select(notes.c.n).select_from(
        notes.join(garbage, garbage.c.blob_key == notes.c.blob_key)
    )


def _referenced(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", prefix=Text(), path=Text(), blob_key=Text())
    return select(objects.c.blob_key).join(
        notes,
        and_(
            objects.c.prefix == notes.c.prefix,
            objects.c.path == notes.c.path,
            objects.c.blob_key == notes.c.blob_key,
        ),
    )


def _note_owners(dialect: Dialect) -> Select[Any]:
    return select(garbage.c.owner_id).where(_is_noted(dialect))


def _shrink_garbage(dialect: Dialect) -> ClauseElement:
    sums = (
        select(
            garbage.c.owner_id,
            cast(func.sum(garbage.c.size), BigInteger).label("freed"),
        )
        .where(_is_noted(dialect))
        .group_by(garbage.c.owner_id)
        .subquery()
    )
    return (
        update(users)
        .where(users.c.user_id == sums.c.owner_id)
        .where(is_locked(dialect, users.c.user_id))
        .values(garbage=users.c.garbage - sums.c.freed)
    )


def _forget_notes(dialect: Dialect) -> ClauseElement:
    has_user = exists(
        select(users.c.user_id).where(users.c.user_id == garbage.c.owner_id)
    )
    # A comparison with NULL is not true.
    kept = and_(has_user, not_(is_locked(dialect, garbage.c.owner_id)))
    return delete(garbage).where(_is_noted(dialect)).where(not_(kept))


def _kept_notes(dialect: Dialect) -> ClauseElement:
    return select(garbage.c.owner_id, garbage.c.blob_key).where(_is_noted(dialect))


def _is_noted(dialect: Dialect) -> ColumnElement[bool]:
    notes = dialect.records("notes", blob_key=Text())
    return garbage.c.blob_key.in_(select(notes.c.blob_key))


note_blobs = Statement(_note_blobs)
"""``notes``: records of (blob_key)."""

noted = Statement(_noted)
"""``notes``: records of (n, blob_key). Rows: (n), for blobs that have a note."""


def _is_stale(dialect: Dialect) -> ColumnElement[bool]:
    return garbage.c.since <= dialect.ago(bindparam("age", type_=Float()))


stale_notes = Statement(
    lambda dialect: (
        select(garbage.c.blob_key)
        .where(_is_stale(dialect))
        .where(
            or_(
                garbage.c.owner_id.is_not(None),
                garbage.c.claimed,  # which no commit takes any more
                garbage.c.since <= dialect.ago(bindparam("pending_age", type_=Float())),
            )
        )
        .order_by(garbage.c.since)
        .limit(bindparam("limit"))
        .offset(ZERO)
        .with_for_update(skip_locked=True)
    )
)
"""``age`` in seconds, ``pending_age`` of blobs that may be about to be committed,
``limit``. Rows: (blob key), locked, none that somebody else holds."""

owner_notes = Statement(
    lambda dialect: (
        select(garbage.c.blob_key, garbage.c.size)
        .where(garbage.c.owner_id == bindparam("owner_id", type_=Integer()))
        .where(or_(garbage.c.claimed.is_(false()), _is_stale(dialect)))
        .order_by(garbage.c.since)
        .limit(bindparam("limit"))
        .offset(ZERO)
        .with_for_update(skip_locked=True)
    )
)
"""``owner_id, limit``, and ``age``, the seconds for which a claim lasts. Rows: (blob
key, bytes), the oldest first, locked, none that somebody else holds or deletes."""

count_notes = Statement(
    lambda dialect: select(func.count()).select_from(
        select(garbage.c.since)
        .where(_is_stale(dialect))
        .limit(bindparam("limit"))
        .offset(ZERO)
        .subquery()
    )
)
"""``age`` in seconds, ``limit``. Rows: (how many notes, up to the limit)."""

referenced = Statement(_referenced)
"""``notes``: records of (prefix, path, blob_key). Rows: (blob key)."""

claim_notes = Statement(
    lambda dialect: (
        update(garbage)
        .where(_is_noted(dialect))
        .values(since=dialect.now, claimed=true())
    )
)
"""``notes``: records of (blob_key)."""

release_notes = Statement(
    lambda dialect: (
        update(garbage)
        .where(
            garbage.c.blob_key.in_(
                select(garbage.c.blob_key)
                .where(_is_noted(dialect))
                .where(garbage.c.claimed)
                .with_for_update(skip_locked=True)
            )
        )
        .values(since=dialect.ago(bindparam("age", type_=Float())))
    )
)
"""``notes``: records of (blob_key); ``age``, the seconds for which a claim lasts. Those
that somebody holds he has claimed again."""

forget_notes = Statement(
    _lock_free_note_owners, _shrink_garbage, _forget_notes, _kept_notes
)
"""``notes``: records of (blob_key). Those of owners whom somebody else has locked
stay: rows (owner, blob key)."""

forget_notes_waiting = Statement(
    limit_owner_wait, _wait_for_note_owners, _shrink_garbage, _forget_notes, _kept_notes
)
"""As ``forget_notes``, but waits for the owners, for a limited time."""
