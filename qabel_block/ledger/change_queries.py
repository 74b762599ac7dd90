"""What uploads and deletions ask of the database, in SQLAlchemy Core.

The names of parameters are in the
comments of the statements; time stamps and months are text
(:mod:`qabel_block.ledger.schema`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    delete,
    exists,
    false,
    func,
    literal_column,
    not_,
    select,
    true,
    tuple_,
    update,
)

from qabel_block.ledger.owner_locks import (
    SHARED_LOCK_WAIT_MILLISECONDS,
    is_locked,
    limit_lock_wait,
    limit_owner_wait,
    lock_owners,
)
from qabel_block.ledger.prefix_queries import is_erased
from qabel_block.ledger.schema import garbage, objects, prefixes, unfinished, users
from qabel_block.ledger.sql import ZERO, Dialect, Statement

_adopting = exists(
    select(unfinished.c.task).where(unfinished.c.task == literal_column("'adopt'"))
)
STORED = (
    *(objects.c.blob_key, objects.c.size, objects.c.etag, objects.c.sha256),
    objects.c.created,
)
"""What :func:`~qabel_block.ledger.write_states.read_stored` reads."""


def is_named(table: FromClause) -> ColumnElement[bool]:
    """Whether an object has the prefix and path of a row of ``table``."""
    return and_(objects.c.prefix == table.c.prefix, objects.c.path == table.c.path)


def _names(dialect: Dialect) -> FromClause:
    """The objects that are asked for, each with a number by which to know it."""
    return dialect.records("names", n=Integer(), prefix=Text(), path=Text())


def _uploads(dialect: Dialect) -> FromClause:
    """Blobs that are to be objects, no two of the same name."""
    return dialect.records(
        "uploads",
        prefix=Text(),
        path=Text(),
        blob_key=Text(),
        size=BigInteger(),
        etag=Text(),
        sha256=Text(),
        owner_id=Integer(),
        grown=BigInteger(),
        freed=BigInteger(),
        latest=BigInteger(),
    )


def _add_owners(dialect: Dialect) -> ClauseElement:
    names = _names(dialect)
    # In this order everywhere, so that two nodes can't wait for each other.
    owners = (
        select(prefixes.c.user_id, ZERO)
        .select_from(
            names.join(prefixes, prefixes.c.name == names.c.prefix).outerjoin(
                users, users.c.user_id == prefixes.c.user_id
            )
        )
        .where(users.c.user_id.is_(None))
        .distinct()
        .order_by(prefixes.c.user_id)
    )
    insert = dialect.insert(users).from_select(["user_id", "size"], owners)
    return insert.on_conflict_do_nothing(index_elements=["user_id"])


def _lock_owners(dialect: Dialect) -> ClauseElement | None:
    return lock_owners(dialect, _owners_of_names(dialect), skip_locked=False)


def _add_unlocked_owners(dialect: Dialect) -> ClauseElement | None:
    # Where rows are locked, one that is missing is none that could be.
    return None if dialect.locks_rows else _add_owners(dialect)


def _lock_free_owners(dialect: Dialect) -> ClauseElement | None:
    lock = lock_owners(dialect, _owners_of_names(dialect), skip_locked=True)
    if lock is None:
        return None
    return lock.add_columns(limit_lock_wait(SHARED_LOCK_WAIT_MILLISECONDS))


def _owners_of_names(dialect: Dialect) -> Select[Any]:
    names = _names(dialect)
    return select(prefixes.c.user_id).join(names, prefixes.c.name == names.c.prefix)


def _write_states(dialect: Dialect) -> ClauseElement:
    return _write_states_of(_names(dialect))


def _write_states_of(names: FromClause) -> Select[Any]:
    return select(
        names.c.n,
        prefixes.c.user_id,
        func.coalesce(users.c.size, ZERO),
        _adopting,
        func.coalesce(users.c.garbage, ZERO),
        func.coalesce(users.c.latest, ZERO),
        *STORED,
    ).select_from(
        names.join(prefixes, prefixes.c.name == names.c.prefix)
        .outerjoin(users, users.c.user_id == prefixes.c.user_id)
        .outerjoin(objects, is_named(names))
    )


def _locked_write_states(dialect: Dialect) -> ClauseElement:
    names = _noted_names(dialect)
    noted = select(ZERO).select_from(garbage).where(_still_noted(names))
    states = _write_states_of(names).add_columns(
        noted.exists().correlate(names), is_locked(dialect, users.c.user_id)
    )
    # Of whom an erasure has begun nobody else deletes or adds anything.
    return states.where(not_(is_erased(prefixes.c.user_id)))


def _lock_notes(dialect: Dialect) -> ClauseElement:
    notes = _noted_names(dialect)
    return (
        select(garbage.c.blob_key)
        .select_from(notes.join(garbage, _still_noted(notes)))
        .order_by(garbage.c.blob_key)
        .with_for_update(of=garbage)
    )


def _noted_names(dialect: Dialect) -> FromClause:
    return dialect.records(
        "names",
        n=Integer(),
        prefix=Text(),
        path=Text(),
        blob_key=Text(),
    )


def _still_noted(names: FromClause) -> ColumnElement[bool]:
    return and_(garbage.c.blob_key == names.c.blob_key, garbage.c.claimed.is_(false()))


def _note_replaced(dialect: Dialect) -> ClauseElement:
    uploads = _uploads(dialect)
    columns = ["blob_key", "since", "owner_id", "size"]
    replaced = (
        select(objects.c.blob_key, dialect.now, uploads.c.owner_id, objects.c.size)
        .select_from(uploads.join(objects, is_named(uploads)))
        .where(true())
        .order_by(objects.c.blob_key)
    )
    insert = dialect.insert(garbage).from_select(columns, replaced)
    return insert.on_conflict_do_update(
        index_elements=["blob_key"],
        set_={name: insert.excluded[name] for name in columns[1:]},
    )


def _put_objects(dialect: Dialect) -> ClauseElement:
    uploads = _uploads(dialect)
    changed = ("blob_key", "size", "etag", "sha256")
    rows = select(
        uploads.c.prefix,
        uploads.c.path,
        *(uploads.c[name] for name in changed),
        dialect.clock,
    ).where(true())
    insert = dialect.insert(objects).from_select(
        ["prefix", "path", *changed, "created"], rows
    )
    return insert.on_conflict_do_update(
        index_elements=["prefix", "path"],
        set_={name: insert.excluded[name] for name in (*changed, "created")},
    )


def grow_owners(dialect: Dialect) -> ClauseElement:
    """Let owners grow by what objects do; of the records it needs the last four."""
    uploads = _uploads(dialect)
    sums = (
        select(
            uploads.c.owner_id,
            cast(func.sum(uploads.c.grown), BigInteger).label("grown"),
            cast(func.sum(uploads.c.freed), BigInteger).label("freed"),
            func.max(uploads.c.latest).label("latest"),
        )
        .group_by(uploads.c.owner_id)
        .subquery()
    )
    return (
        update(users)
        .where(users.c.user_id == sums.c.owner_id)
        .values(
            size=func.coalesce(users.c.size, ZERO) + sums.c.grown,
            garbage=users.c.garbage + func.coalesce(sums.c.freed, ZERO),
            latest=case(
                (sums.c.latest > users.c.latest, sums.c.latest), else_=users.c.latest
            ),
        )
    )


def _delete_objects(dialect: Dialect) -> ClauseElement:
    names = _uploads(dialect)
    return delete(objects).where(
        tuple_(objects.c.prefix, objects.c.path).in_(
            select(names.c.prefix, names.c.path)
        )
    )


def _forget_uploaded(dialect: Dialect) -> ClauseElement:
    return delete(garbage).where(
        garbage.c.blob_key.in_(select(_uploads(dialect).c.blob_key))
    )


write_states = Statement(_write_states)
"""``names``: records of (n, prefix, path). Rows: (n, owner, bytes used, whether
the legacy server's blobs are still being adopted, the owner's bytes of garbage and
newest version's time, then the object's blob key, size, ETag and SHA-256, all
``NULL`` if there is none); none without the prefix."""

lock_write_states = Statement(_add_owners, _lock_owners, _write_states)
"""As ``write_states``, for changes: the owners' rows in ``users`` are locked, made if
there are none. What is read is read by a later statement: one that had to wait for a
lock would still see the objects as they were before."""

lock_free_changes = Statement(
    _add_unlocked_owners, _lock_free_owners, _lock_notes, _locked_write_states
)
"""As ``lock_write_states``, for uploads and deletions; owners whom somebody else has
locked are not waited for, nor are rows made that are not there (PostgreSQL): others
would have to wait for those. The transaction waits for other rows only for a moment.
``names``: records of (n, prefix, path, blob_key), the last for uploads only. Rows: as
there, then whether the blob's note is still there and nobody has claimed it, if so it
is locked, and whether the owner is locked here; none either for the prefixes of a user
whose erasure has begun."""

lock_changes = Statement(
    limit_owner_wait, _add_owners, _lock_owners, _lock_notes, _locked_write_states
)
"""As ``lock_free_changes``, but waits for the owners, for a limited time, and makes
their rows."""

put_objects = Statement(_note_replaced, _put_objects, grow_owners, _forget_uploaded)
"""``uploads``: records of (prefix, path, blob_key, size, etag, sha256, owner_id,
grown, freed, latest): by how many bytes the owner's objects and garbage grow, and
when the version was made."""

enter_objects = Statement(_put_objects, grow_owners)
"""As ``put_objects``, for blobs that have no note; what they replace gets none."""

delete_objects = Statement(_note_replaced, grow_owners, _delete_objects)
"""``uploads``: records of (prefix, path, owner_id, grown, freed)."""

drop_objects = Statement(_delete_objects, grow_owners)
"""As ``delete_objects``, for objects without blobs."""
