"""Compares the revision of a database's schema with the newest one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ClauseElement, and_, not_, select

from qabel_block.errors import NotMigrated
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.revisions import HEAD, REVISIONS
from qabel_block.ledger.schema import alembic_version
from qabel_block.ledger.sql import Dialect, Statement


def _revision(dialect: Dialect) -> ClauseElement:
    legacy = and_(dialect.has_table("prefixes"), not_(dialect.has_table("objects")))
    return select(alembic_version.c.version_num, legacy)


revision = Statement(_revision)
"""Rows: (revision of the schema, whether its tables are those of the legacy server)."""


def not_migrated() -> NotMigrated:
    """Return the error of a database whose tables aren't those of the ledger."""
    return NotMigrated(
        f"its schema is not at revision {HEAD}; run: qabel-block migrate"
    )


def unknown_revision(revision: str, legacy: bool) -> str:
    """Return what to say of a revision that is not known.

    :param legacy: whether the tables are those of the legacy server.
    """
    if legacy:
        return (
            f"its schema is at revision {revision} of the legacy server; let that"
            f" server's own migrations bring it to revision {REVISIONS[-1]} first"
        )
    return (
        f"its schema is at revision {revision}, which this version of qabel-block does"
        " not know: a newer one has migrated it; install that one"
    )


def is_head(found: Sequence[Row]) -> bool:
    """Say whether :data:`revision` returned the newest one."""
    return [name for name, _ in found] == [HEAD]


def require_head(found: Sequence[Row]) -> None:
    """Compare what :data:`revision` returned.

    :raises NotMigrated: if it is not the newest revision.
    """
    if is_head(found):
        return
    for name, legacy in found:
        if name not in REVISIONS:
            reason = unknown_revision(name, legacy)
            raise NotMigrated(reason, can_be_migrated=False)
    raise not_migrated()
