"""Checks the schema of a database before the server starts.

A database that can't be asked at the moment is no reason not to start: ``/readyz``
will tell. All of this blocks, for a few seconds at the most if the database's name
can be resolved.
"""

from __future__ import annotations

from qabel_block.ledger.migrate_check import require_head
from qabel_block.ledger.postgres.startup_check import fetch_revision

SECONDS = 3.0
"""How long a database is waited for that does not answer."""


def check_postgres(dsn: str) -> None:
    """Find out whether PostgreSQL says that the schema is another version's.

    :raises NotMigrated: in words for the operator.
    """
    found = fetch_revision(dsn, SECONDS)
    if found is not None:
        require_head(found)
