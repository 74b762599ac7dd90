"""The revisions of the ledger's schema, which ``migrations/`` has."""

from __future__ import annotations

REVISIONS = (
    "d9e5b3f08c17",
    "c3a9f1d27e64",
    "3b9d5a7e41f0",
    "b7d40e9a15c3",
    "8d2f61c07b9e",
    "5c1e8f0a7b42",
    "aa3320db4c7f",
)
"""The newest first. Who compares a database with them needs no Alembic, which takes
longer to import than many a command to run."""

HEAD = REVISIONS[0]
"""The newest."""
