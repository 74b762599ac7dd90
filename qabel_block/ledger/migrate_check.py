"""Compares the revision of a database's schema with the newest one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from qabel_block.errors import NotMigrated
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.revisions import HEAD, REVISIONS
from qabel_block.ledger.schema import alembic_version
from qabel_block.ledger.sql import Statement

revision = Statement(select(alembic_version.c.version_num))
"""Rows: (revision of the schema)."""


def not_migrated() -> NotMigrated:
    """Return the error of a database whose tables aren't those of the ledger."""
    return NotMigrated(
        f"its schema is not at revision {HEAD}; run: qabel-block migrate"
    )


def newer(revision: str) -> str:
    """Return what to say of a revision that is not known."""
    return (
        f"its schema is at revision {revision}, which this version of qabel-block does"
        " not know: a newer one has migrated it; install that one"
    )


def require_head(found: Sequence[Row]) -> None:
    """Compare what :data:`revision` returned.

    :raises NotMigrated: if it is not the newest revision.
    """
    if list(found) == [(HEAD,)]:
        return
    unknown = [name for (name,) in found if name not in REVISIONS]
    if unknown:
        raise NotMigrated(newer(unknown[0]), can_be_migrated=False)
    raise not_migrated()
