"""Users' prefixes and what they store, in SQLAlchemy Core.

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    not_,
    select,
)

from qabel_block.ledger.schema import accounts, prefixes, repositories, users
from qabel_block.ledger.sql import ZERO, Dialect, Statement

_repository_of = select(repositories.c.prefix).where(
    repositories.c.prefix == prefixes.c.name
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
        ["name", "user_id", "created"], row.where(not_(is_erased(user_id)))
    )
    return insert.on_conflict_do_nothing(index_elements=["name"])


def is_erased(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a user of built-in accounts is erased, or is being so."""
    erased = select(accounts.c.user_id).where(
        and_(accounts.c.user_id == user_id, accounts.c.erased.is_not(None))
    )
    return exists(erased)


storage_used = Statement(
    select(func.coalesce(users.c.size, ZERO)).where(
        users.c.user_id == bindparam("user_id")
    )
)
"""``user_id``. Rows: (bytes)."""

prefixes_of = Statement(
    select(prefixes.c.name)
    .where(prefixes.c.user_id == bindparam("user_id"))
    .where(~exists(_repository_of).correlate(prefixes))
    .order_by(prefixes.c.created, prefixes.c.name)
)
"""``user_id``. Rows: (prefix), oldest first, without those of repositories."""

create_prefix = Statement(_lock_account, _create_prefix)
"""``prefix, user_id``. Touches no row if somebody has the prefix, or the user is
erased."""

drop_prefix = Statement(delete(prefixes).where(prefixes.c.name == bindparam("prefix")))
"""``prefix``. For one that was made in the same transaction."""
