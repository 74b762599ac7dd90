"""What the ledger asks about restic repositories.

As in :mod:`qabel_block.ledger.change_queries`, parameters are named in a
comment.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    select,
)

from qabel_block.ledger.schema import accounts, objects, prefixes, repositories
from qabel_block.ledger.sql import ZERO, Dialect, Statement


def _create_repository(dialect: Dialect) -> ClauseElement:
    return (
        dialect.insert(repositories)
        .values(
            user_id=bindparam("user_id"),
            name=bindparam("name"),
            prefix=bindparam("prefix"),
            created=dialect.now,
        )
        .on_conflict_do_nothing(index_elements=["user_id", "name"])
    )


def _control_sizes(dialect: Dialect) -> ClauseElement:
    ranges = dialect.records("ranges", prefix=Text(), after=Text(), last=Text())
    return (
        select(ranges.c.prefix, cast(func.sum(objects.c.size), BigInteger))
        .select_from(
            ranges.join(
                objects,
                and_(
                    objects.c.prefix == ranges.c.prefix,
                    objects.c.path > ranges.c.after,
                    objects.c.path <= ranges.c.last,
                ),
            )
        )
        .group_by(ranges.c.prefix)
    )


create_repository = Statement(_create_repository)
"""``user_id, name, prefix``. Touches no row if the user has one of this name."""

repository_prefix = Statement(
    select(repositories.c.prefix).where(
        and_(
            repositories.c.user_id == bindparam("user_id"),
            repositories.c.name == bindparam("name"),
        )
    )
)
"""``user_id, name``. Rows: (prefix)."""

file_page = Statement(
    select(objects.c.path, objects.c.size)
    .where(
        and_(
            objects.c.prefix == bindparam("prefix"),
            objects.c.path > bindparam("after"),
            objects.c.path <= bindparam("last"),
        )
    )
    .order_by(objects.c.path)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``prefix, after, last, limit``. Rows: (path, size), in order."""

control_sizes = Statement(_control_sizes)
"""``ranges``: records of (prefix, after, last). Rows: (prefix, bytes of all objects in
its ranges); none for a prefix without any."""


def _usage() -> Select[Any]:
    snapshots = and_(
        objects.c.path > bindparam("after"), objects.c.path <= bindparam("last")
    )
    return (
        select(
            repositories.c.user_id,
            accounts.c.name.label("user"),
            repositories.c.name,
            func.count(objects.c.path),
            cast(func.coalesce(func.sum(objects.c.size), ZERO), BigInteger),
            func.max(objects.c.created).filter(snapshots),
        )
        .select_from(
            repositories.outerjoin(
                objects, objects.c.prefix == repositories.c.prefix
            ).outerjoin(accounts, accounts.c.user_id == repositories.c.user_id)
        )
        .group_by(repositories.c.user_id, accounts.c.name, repositories.c.name)
        .order_by(repositories.c.user_id, repositories.c.name)
    )


usage = Statement(_usage())
"""``after, last``: the range of snapshots. Rows: (user, the user's name or ``NULL``,
name, files, bytes, time of the
last snapshot), of all repositories."""

usage_of = Statement(_usage().where(repositories.c.user_id == bindparam("user_id")))
"""``after, last, user_id``. As ``usage``, of one user."""

erase_page = Statement(
    select(objects.c.path, objects.c.blob_key, objects.c.size)
    .where(objects.c.prefix == bindparam("prefix"))
    .order_by(objects.c.path)
    .limit(bindparam("limit"))
    .offset(ZERO)
)
"""``prefix, limit``. Rows: (path, blob key, size)."""

drop_prefix = Statement(
    delete(repositories).where(repositories.c.prefix == bindparam("prefix")),
    delete(prefixes).where(prefixes.c.name == bindparam("prefix")),
)
"""``prefix``. For one below which there is nothing."""
