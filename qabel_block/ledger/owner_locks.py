"""Locks on owners' rows, in SQLAlchemy Core: taken by changes and by the collector."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Integer,
    Select,
    Text,
    cast,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from qabel_block.ledger.schema import users
from qabel_block.ledger.sql import Dialect

LOCK_WAIT_MILLISECONDS = 1000
"""How long one attempt waits for owners whom somebody else has locked."""

SHARED_LOCK_WAIT_MILLISECONDS = 200
"""How long changes of many owners wait for another row than those; usually the
transaction that has it is just being committed."""

_LOCKED_OWNERS: ColumnElement[str] = literal_column("'qabel_block.locked_owners'")


def lock_owners(
    dialect: Dialect, owners: Select[Any], skip_locked: bool
) -> Select[Any] | None:
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


def is_locked(dialect: Dialect, user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the transaction has locked this user's row."""
    if not dialect.locks_rows:
        return true()
    user_ids = func.string_to_array(
        func.current_setting(_LOCKED_OWNERS), literal_column("','")
    )
    array = cast(select(user_ids).scalar_subquery(), ARRAY(Integer))
    return user_id == func.any(array)


def limit_lock_wait(milliseconds: int) -> ColumnElement[str]:
    """Let the transaction wait so long for each lock at most (PostgreSQL)."""
    limit: ColumnElement[str] = literal_column(f"'{milliseconds}'")
    return func.set_config(
        literal_column("'lock_timeout'"), limit, literal_column("true")
    )


def limit_owner_wait(dialect: Dialect) -> ClauseElement | None:
    """Let the transaction wait :data:`LOCK_WAIT_MILLISECONDS` for each lock at most."""
    if not dialect.locks_rows:
        return None
    return select(limit_lock_wait(LOCK_WAIT_MILLISECONDS))
