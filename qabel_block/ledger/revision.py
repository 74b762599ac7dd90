"""Is the database's schema the one that this version of the server needs?"""

from __future__ import annotations

from collections.abc import Sequence

from qabel_block.errors import Unavailable
from qabel_block.interfaces import Row
from qabel_block.ledger.migrate import head


def not_migrated() -> Unavailable:
    """Return the error of a database whose tables aren't those of the ledger."""
    return Unavailable(
        "database",
        f"its schema is not at revision {head()}; run: alembic -x url=DSN upgrade head",
    )


def require_head(found: Sequence[Row]) -> None:
    """Compare what :data:`~qabel_block.ledger.statements.revision` returned.

    :raises Unavailable: if it is not the newest revision.
    """
    if list(found) != [(head(),)]:
        raise not_migrated()
