"""What the ledger asks about built-in accounts (PROTOCOL section 10).

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Date,
    FromClause,
    Integer,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    null,
    select,
    true,
    union_all,
    update,
)

from qabel_block.ledger.schema import (
    account_changes,
    accounts,
    garbage,
    prefixes,
    repositories,
    tokens,
    traffic,
    users,
)
from qabel_block.ledger.sql import ONE, ZERO, Dialect, Statement

_user_id = bindparam("user_id", type_=Integer())
_granted = (
    accounts.c.user_id,
    accounts.c.disabled.is_(None).label("active"),
    accounts.c.storage_quota,
    accounts.c.traffic_quota,
)


def _with_version(found: Select[Any]) -> ClauseElement:
    """Add the count of changes, as the same snapshot has it, also to no row."""
    rows = found.subquery()
    return select(account_changes.c.version, *rows.c).select_from(
        account_changes.outerjoin(rows, true())
    )


def _find_tokens(dialect: Dialect) -> ClauseElement:
    asked = dialect.records("asked", n=Integer(), sha256=Text())
    found = (
        select(asked.c.n, *_granted, tokens.c.permission, tokens.c.expires)
        .select_from(
            asked.join(tokens, tokens.c.sha256 == asked.c.sha256).join(
                accounts, accounts.c.user_id == tokens.c.user_id
            )
        )
        .where(and_(tokens.c.revoked.is_(None), accounts.c.erased.is_(None)))
    )
    return _with_version(found)


def _find_users(dialect: Dialect) -> ClauseElement:
    asked = dialect.records("asked", n=Integer(), user_id=Integer())
    found = (
        select(asked.c.n, *_granted)
        .select_from(asked.join(accounts, accounts.c.user_id == asked.c.user_id))
        .where(accounts.c.erased.is_(None))
    )
    return _with_version(found)


def _used_ids() -> FromClause:
    """The greatest user ID of each table, whoever gave it."""
    tables = (accounts, users, prefixes, traffic)
    return union_all(
        *(select(func.max(table.c.user_id).label("user_id")) for table in tables)
    ).subquery()


def _next_id() -> Select[Any]:
    used = _used_ids()
    return select(func.coalesce(func.max(used.c.user_id), ZERO) + ONE)


def _add_user(dialect: Dialect) -> ClauseElement:
    row = select(
        _user_id,
        bindparam("name", type_=String(64)),
        bindparam("storage_quota", type_=BigInteger()),
        bindparam("traffic_quota", type_=BigInteger()),
        dialect.now,
    )
    columns = ["user_id", "name", "storage_quota", "traffic_quota", "created"]
    insert = dialect.insert(accounts).from_select(columns, row.where(true()))
    return insert.on_conflict_do_nothing(index_elements=["name"])


def _set_user(dialect: Dialect) -> ClauseElement:
    return (
        update(accounts)
        .where(accounts.c.user_id == _user_id)
        .values(
            name=bindparam("name", type_=String(64)),
            storage_quota=bindparam("storage_quota", type_=BigInteger()),
            traffic_quota=bindparam("traffic_quota", type_=BigInteger()),
            disabled=case(
                (bindparam("active", type_=Integer()) == ONE, null()),
                else_=func.coalesce(accounts.c.disabled, dialect.now),
            ),
        )
    )


def _add_token(dialect: Dialect) -> ClauseElement:
    next_id = select(func.coalesce(func.max(tokens.c.id), ZERO) + ONE).where(
        tokens.c.user_id == _user_id
    )
    row = select(
        _user_id,
        next_id.scalar_subquery(),
        bindparam("sha256", type_=String(64)),
        bindparam("permission", type_=String(16)),
        bindparam("label", type_=Text()),
        dialect.now,
        bindparam("expires", type_=BigInteger()),
    )
    columns = ["user_id", "id", "sha256", "permission", "label", "created", "expires"]
    insert = dialect.insert(tokens).from_select(columns, row.where(true()))
    return insert.on_conflict_do_nothing(index_elements=["sha256"])


def _revoke_token(dialect: Dialect) -> ClauseElement:
    return (
        update(tokens)
        .where(
            and_(
                tokens.c.user_id == _user_id,
                tokens.c.id == bindparam("id", type_=Integer()),
            )
        )
        .values(revoked=func.coalesce(tokens.c.revoked, dialect.now))
    )


def _begin_erasure(dialect: Dialect) -> ClauseElement:
    return (
        update(accounts)
        .where(accounts.c.user_id == _user_id)
        .values(erased=func.coalesce(accounts.c.erased, dialect.now))
    )


def _users() -> Select[Any]:
    month = bindparam("month", type_=Date())
    return select(
        *_granted,
        accounts.c.name,
        accounts.c.created,
        accounts.c.erased.is_not(None),
        func.coalesce(users.c.size, ZERO),
        func.coalesce(traffic.c.traffic, ZERO),
    ).select_from(
        accounts.outerjoin(users, users.c.user_id == accounts.c.user_id).outerjoin(
            traffic,
            and_(
                traffic.c.user_id == accounts.c.user_id,
                traffic.c.traffic_month == month,
            ),
        )
    )


version = Statement(select(account_changes.c.version))
"""Rows: (how often accounts have changed)."""

count_change = Statement(
    update(account_changes).values(version=account_changes.c.version + ONE)
)
"""The first of each change: it lets changes happen one after the other."""

find_tokens = Statement(_find_tokens)
"""``asked``: records of (n, sha256). Rows: (count of changes, n, user, whether active,
storage quota, traffic quota, permission, expiry), all ``NULL`` behind the count if
nothing is found; neither revoked tokens nor those of users that are erased."""

find_users = Statement(_find_users)
"""``asked``: records of (n, user_id). Rows: as above, without the last two."""

token_digests = Statement(
    lambda _: _with_version(
        select(tokens.c.sha256)
        .where(tokens.c.revoked.is_(None))
        .limit(bindparam("limit"))
        .offset(ZERO)
    )
)
"""``limit``. Rows: (count of changes, digest or ``NULL``)."""

any_user = Statement(
    select(accounts.c.user_id)
    .where(accounts.c.name.is_not(None))
    .limit(ONE)
    .offset(ZERO)
)
"""Rows: (user), if there is one."""

next_id = Statement(_next_id())
"""Rows: (a user ID that nobody has had)."""

add_user = Statement(_add_user)
"""``user_id, name, storage_quota, traffic_quota``. Touches no row if the name is
taken."""

set_user = Statement(_set_user)
"""``user_id, name, storage_quota, traffic_quota, active``, the last 0 or 1."""

user_named = Statement(
    _users().where(accounts.c.name == bindparam("name", type_=String(64)))
)
"""``name, month``. Rows: as ``user_page``."""

user_page = Statement(
    _users()
    .where(accounts.c.name > bindparam("after", type_=String(64)))
    .order_by(accounts.c.name)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``after, limit, month``. Rows: (user, whether active, storage quota, traffic quota,
name, since when, whether being erased, bytes stored, the month's traffic), by name."""

add_token = Statement(_add_token)
"""``user_id, sha256, permission, label, expires``. Touches no row if there is such a
token."""

revoke_token = Statement(_revoke_token)
"""``user_id, id``."""

tokens_of = Statement(
    select(
        tokens.c.id,
        tokens.c.permission,
        tokens.c.label,
        tokens.c.created,
        tokens.c.expires,
        tokens.c.revoked.is_not(None),
    )
    .where(tokens.c.user_id == _user_id)
    .order_by(tokens.c.id)
)
"""``user_id``. Rows: (ID, permission, label, since when, expiry, whether revoked)."""

begin_erasure = Statement(
    _begin_erasure, delete(tokens).where(tokens.c.user_id == _user_id)
)
"""``user_id``. Takes all access away."""

prefix_of = Statement(
    select(prefixes.c.name)
    .where(prefixes.c.user_id == _user_id)
    .order_by(prefixes.c.created, prefixes.c.name)
    .limit(ONE)
    .offset(ZERO)
)
"""``user_id``. Rows: (prefix), one of the user's, if there is any."""

garbage_of = Statement(
    select(garbage.c.blob_key)
    .where(garbage.c.owner_id == _user_id)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``user_id, limit``. Rows: (blob key)."""

end_erasure = Statement(
    delete(repositories).where(repositories.c.user_id == _user_id),
    delete(traffic).where(traffic.c.user_id == _user_id),
    delete(users).where(users.c.user_id == _user_id),
    update(accounts)
    .where(accounts.c.user_id == _user_id)
    .values(
        name=null(),
        storage_quota=ZERO,
        traffic_quota=ZERO,
        disabled=null(),
    ),
)
"""``user_id``. Only the ID is left."""
