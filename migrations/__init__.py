"""The Alembic chain of the ledger."""
