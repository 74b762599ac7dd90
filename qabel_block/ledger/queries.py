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
    Float,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
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
from sqlalchemy.dialects.postgresql import ARRAY

from qabel_block.ledger.schema import (
    accounts,
    alembic_version,
    garbage,
    objects,
    prefixes,
    repositories,
    traffic,
    unfinished,
    users,
)
from qabel_block.ledger.sql import Dialect, Statement, statement

__all__ = ["Statement"]

LOCK_WAIT_MILLISECONDS = 1000
"""How long one attempt waits for owners whom somebody else has locked."""

_ZERO: ColumnElement[int] = literal_column("0")
_LOCKED_OWNERS: ColumnElement[str] = literal_column("'qabel_block.locked_owners'")
_adopting = exists(
    select(unfinished.c.task).where(unfinished.c.task == literal_column("'adopt'"))
)
_repository_of = select(repositories.c.prefix).where(
    repositories.c.prefix == prefixes.c.name
)
_stored = (objects.c.blob_key, objects.c.size, objects.c.etag, objects.c.sha256)


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


def _named(table: FromClause) -> ColumnElement[bool]:
    return and_(objects.c.prefix == table.c.prefix, objects.c.path == table.c.path)


def _add_owners(dialect: Dialect) -> ClauseElement:
    names = _names(dialect)
    # In this order everywhere, so that two nodes can't wait for each other.
    owners = (
        select(prefixes.c.user_id, _ZERO)
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
    return _lock(dialect, _owners_of_names(dialect), skip_locked=False)


def _lock_free_owners(dialect: Dialect) -> ClauseElement | None:
    return _lock(dialect, _owners_of_names(dialect), skip_locked=True)


def _lock_free_note_owners(dialect: Dialect) -> ClauseElement | None:
    return _lock(dialect, _note_owners(dialect), skip_locked=True)


def _owners_of_names(dialect: Dialect) -> Select[Any]:
    names = _names(dialect)
    return select(prefixes.c.user_id).join(names, prefixes.c.name == names.c.prefix)


def _lock(
    dialect: Dialect, owners: Select[Any], skip_locked: bool
) -> ClauseElement | None:
    """Lock owners' rows, and keep in a setting of the transaction whose they are.

    Only so can a later statement tell: a row that it could lock itself may have been
    freed after its snapshot was taken.
    """
    if not dialect.locks_rows:
        return None
    locked = (
        select(users.c.user_id)
        .where(users.c.user_id.in_(owners))
        .order_by(users.c.user_id)
        .with_for_update(skip_locked=skip_locked)
        .subquery()
    )
    user_ids = func.string_agg(cast(locked.c.user_id, Text), literal_column("','"))
    return select(
        func.set_config(
            _LOCKED_OWNERS,
            func.coalesce(user_ids, literal_column("''")),
            literal_column("true"),
        )
    )


def _is_locked(dialect: Dialect, user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the transaction has locked this user's row."""
    if not dialect.locks_rows:
        return true()
    user_ids = func.string_to_array(
        func.current_setting(_LOCKED_OWNERS), literal_column("','")
    )
    array = cast(select(user_ids).scalar_subquery(), ARRAY(Integer))
    return user_id == func.any(array)


def _limit_lock_wait(dialect: Dialect) -> ClauseElement | None:
    if not dialect.locks_rows:
        return None
    limit: ColumnElement[str] = literal_column(f"'{LOCK_WAIT_MILLISECONDS}'")
    return select(
        func.set_config(literal_column("'lock_timeout'"), limit, literal_column("true"))
    )


def _write_states(dialect: Dialect) -> ClauseElement:
    return _write_states_of(_names(dialect))


def _write_states_of(names: FromClause) -> Select[Any]:
    return select(
        names.c.n,
        prefixes.c.user_id,
        func.coalesce(users.c.size, _ZERO),
        _adopting,
        func.coalesce(users.c.garbage, _ZERO),
        func.coalesce(users.c.latest, _ZERO),
        *_stored,
    ).select_from(
        names.join(prefixes, prefixes.c.name == names.c.prefix)
        .outerjoin(users, users.c.user_id == prefixes.c.user_id)
        .outerjoin(objects, _named(names))
    )


def _locked_write_states(dialect: Dialect) -> ClauseElement:
    names = _noted_names(dialect)
    noted = select(_ZERO).select_from(garbage).where(_still_noted(names))
    return _write_states_of(names).add_columns(
        noted.exists().correlate(names), _is_locked(dialect, users.c.user_id)
    )


def _find(dialect: Dialect) -> ClauseElement:
    names = dialect.records(
        "names", n=Integer(), prefix=Text(), path=Text(), month=Date()
    )
    return select(
        names.c.n, *_stored, prefixes.c.user_id, func.coalesce(traffic.c.traffic, _ZERO)
    ).select_from(
        names.join(objects, _named(names))
        .join(prefixes, prefixes.c.name == objects.c.prefix)
        .outerjoin(
            traffic,
            and_(
                traffic.c.user_id == prefixes.c.user_id,
                traffic.c.traffic_month == names.c.month,
            ),
        )
    )


def _note_blobs(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", blob_key=Text())
    rows = select(notes.c.blob_key, dialect.now).where(true())
    insert = dialect.insert(garbage).from_select(["blob_key", "since"], rows)
    return insert.on_conflict_do_update(
        index_elements=["blob_key"], set_={"since": insert.excluded.since}
    )


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


def _noted(dialect: Dialect) -> ClauseElement:
    notes = dialect.records("notes", n=Integer(), blob_key=Text())
    return select(notes.c.n).select_from(
        notes.join(garbage, garbage.c.blob_key == notes.c.blob_key)
    )


def _note_replaced(dialect: Dialect) -> ClauseElement:
    uploads = _uploads(dialect)
    columns = ["blob_key", "since", "owner_id", "size"]
    replaced = (
        select(objects.c.blob_key, dialect.now, uploads.c.owner_id, objects.c.size)
        .select_from(uploads.join(objects, _named(uploads)))
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
        dialect.now,
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
            size=func.coalesce(users.c.size, _ZERO) + sums.c.grown,
            garbage=users.c.garbage + func.coalesce(sums.c.freed, _ZERO),
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


def _lock_account(dialect: Dialect) -> ClauseElement | None:
    """Let nobody begin to erase the user meanwhile."""
    if not dialect.locks_rows:
        return None
    account = select(accounts.c.user_id).where(
        accounts.c.user_id == bindparam("user_id")
    )
    return account.with_for_update(read=True)


def _create_prefix(dialect: Dialect) -> ClauseElement:
    user_id = bindparam("user_id", type_=Integer())
    row = select(bindparam("prefix", type_=Text()), user_id, dialect.now)
    insert = dialect.insert(prefixes).from_select(
        ["name", "user_id", "created"], row.where(not_(_is_erased(user_id)))
    )
    return insert.on_conflict_do_nothing(index_elements=["name"])


def _is_erased(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    erased = select(accounts.c.user_id).where(
        and_(accounts.c.user_id == user_id, accounts.c.erased.is_not(None))
    )
    return exists(erased)


def _add_traffic(dialect: Dialect) -> ClauseElement:
    counts = dialect.records(
        "counts", user_id=Integer(), month=Date(), traffic=BigInteger()
    )
    # In this order everywhere, so that two nodes can't wait for each other.
    rows = (
        select(counts.c.user_id, counts.c.month, counts.c.traffic)
        .where(not_(_is_erased(counts.c.user_id)))
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
        .where(_is_locked(dialect, users.c.user_id))
        .values(garbage=users.c.garbage - sums.c.freed)
    )


def _forget_notes(dialect: Dialect) -> ClauseElement:
    has_user = exists(
        select(users.c.user_id).where(users.c.user_id == garbage.c.owner_id)
    )
    # A comparison with NULL is not true.
    kept = and_(has_user, not_(_is_locked(dialect, garbage.c.owner_id)))
    return delete(garbage).where(_is_noted(dialect)).where(not_(kept))


def _is_noted(dialect: Dialect) -> ColumnElement[bool]:
    notes = dialect.records("notes", blob_key=Text())
    return garbage.c.blob_key.in_(select(notes.c.blob_key))


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
    .where(~exists(_repository_of).correlate(prefixes))
    .order_by(prefixes.c.created, prefixes.c.name)
)
"""``user_id``. Rows: (prefix), oldest first, without those of repositories."""

create_prefix = statement(_lock_account, _create_prefix)
"""``prefix, user_id``. Touches no row if somebody has the prefix, or the user is
erased."""

drop_prefix = statement(delete(prefixes).where(prefixes.c.name == bindparam("prefix")))
"""``prefix``. For one that was made in the same transaction."""

write_states = statement(_write_states)
"""``names``: records of (n, prefix, path). Rows: (n, owner, bytes used, whether
the legacy server's blobs are still being adopted, the owner's bytes of garbage and
newest version's time, then the object's blob key, size, ETag and SHA-256, all
``NULL`` if there is none); none without the prefix."""

lock_write_states = statement(_add_owners, _lock_owners, _write_states)
"""As ``write_states``, for changes: the owners' rows in ``users`` are locked, made if
there are none. What is read is read by a later statement: one that had to wait for a
lock would still see the objects as they were before."""

find = statement(_find)
"""``names``: records of (n, prefix, path, month). Rows: (n, blob key, size, ETag,
SHA-256, owner, the owner's traffic of the month)."""

note_blobs = statement(_note_blobs)
"""``notes``: records of (blob_key)."""

lock_free_changes = statement(
    _add_owners, _lock_free_owners, _lock_notes, _locked_write_states
)
"""As ``lock_write_states``, for uploads and deletions; owners whom somebody else has
locked are not waited for. ``names``: records of (n, prefix, path, blob_key), the last
for uploads only. Rows: as there, then whether the blob's note is still there and
nobody has claimed it, if so it is locked, and whether the owner is locked here."""

lock_changes = statement(
    _limit_lock_wait, _add_owners, _lock_owners, _lock_notes, _locked_write_states
)
"""As ``lock_free_changes``, but waits for the owners, for a limited time."""

noted = statement(_noted)
"""``notes``: records of (n, blob_key). Rows: (n), for blobs that have a note."""

put_objects = statement(_note_replaced, _put_objects, grow_owners, _forget_uploaded)
"""``uploads``: records of (prefix, path, blob_key, size, etag, sha256, owner_id,
grown, freed, latest): by how many bytes the owner's objects and garbage grow, and
when the version was made."""

enter_objects = statement(_put_objects, grow_owners)
"""As ``put_objects``, for blobs that have no note; what they replace gets none."""

delete_objects = statement(_note_replaced, grow_owners, _delete_objects)
"""``uploads``: records of (prefix, path, owner_id, grown, freed)."""

drop_objects = statement(_delete_objects, grow_owners)
"""As ``delete_objects``, for objects without blobs."""

add_traffic = statement(_add_traffic)
"""``counts``: records of (user_id, month, traffic), no two of the same user and
month."""


def _is_stale(dialect: Dialect) -> ColumnElement[bool]:
    return garbage.c.since <= dialect.ago(bindparam("age", type_=Float()))


stale_notes = statement(
    lambda dialect: (
        select(garbage.c.blob_key)
        .where(_is_stale(dialect))
        .order_by(garbage.c.since)
        .limit(bindparam("limit"))
        .offset(_ZERO)
        .with_for_update(skip_locked=True)
    )
)
"""``age`` in seconds, ``limit``. Rows: (blob key), locked, none that somebody else
holds."""

owner_notes = statement(
    select(garbage.c.blob_key, garbage.c.size)
    .where(garbage.c.owner_id == bindparam("owner_id", type_=Integer()))
    .where(garbage.c.claimed.is_(false()))
    .order_by(garbage.c.since)
    .limit(bindparam("limit"))
    .offset(_ZERO)
    .with_for_update(skip_locked=True)
)
"""``owner_id, limit``. Rows: (blob key, bytes), the oldest first, locked, none that
somebody else holds or deletes."""

count_notes = statement(
    lambda dialect: select(func.count()).select_from(
        select(garbage.c.since)
        .where(_is_stale(dialect))
        .limit(bindparam("limit"))
        .offset(_ZERO)
        .subquery()
    )
)
"""``age`` in seconds, ``limit``. Rows: (how many notes, up to the limit)."""

referenced = statement(_referenced)
"""``notes``: records of (prefix, path, blob_key). Rows: (blob key)."""

claim_notes = statement(
    lambda dialect: (
        update(garbage)
        .where(_is_noted(dialect))
        .values(since=dialect.now, claimed=true())
    )
)
"""``notes``: records of (blob_key)."""

forget_notes = statement(_lock_free_note_owners, _shrink_garbage, _forget_notes)
"""``notes``: records of (blob_key). Those of owners whom somebody else has locked
stay."""
