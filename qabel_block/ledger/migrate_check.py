"""Compares the revision of a database's schema with the newest one."""

from __future__ import annotations

from collections.abc import Sequence

from qabel_block.errors import NotMigrated
from qabel_block.ledger.interfaces import Row
from qabel_block.ledger.migrate import head, revisions


def not_migrated() -> NotMigrated:
    """Return the error of a database whose tables aren't those of the ledger."""
    return NotMigrated(
        f"its schema is not at revision {head()}; run: qabel-block migrate"
    )


def newer(revision: str) -> str:
    """Return what to say of a revision that is not known."""
    return (
        f"its schema is at revision {revision}, which this version of qabel-block does"
        " not know: a newer one has migrated it; install that one"
    )


def require_head(found: Sequence[Row]) -> None:
    """Compare what :data:`~qabel_block.ledger.queries.revision` returned.

    :raises NotMigrated: if it is not the newest revision.
    """
    if list(found) == [(head(),)]:
        return
    unknown = [name for (name,) in found if name not in revisions()]
    if unknown:
        raise NotMigrated(newer(unknown[0]), can_be_migrated=False)
    raise not_migrated()
