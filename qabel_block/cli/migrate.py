"""``qabel-block migrate``."""

from __future__ import annotations

from argparse import ArgumentParser

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from qabel_block.cli.context import CommandContext
from qabel_block.cli.runner import ALL_WELL, CommandFailed
from qabel_block.config.config import PostgresLedger
from qabel_block.ledger.migrate import current, head, upgrade

HELP = "Make the ledger's tables, or bring them to the newest schema."


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


async def migrate(context: CommandContext) -> int:
    """Bring the database to the newest revision.

    :raises CommandFailed: if the database doesn't do it; it is then as it was
        before.
    """
    chosen = context.places.ledger
    try:
        if isinstance(chosen, PostgresLedger):
            dsn = chosen.dsn
        else:
            chosen.path.parent.mkdir(mode=0o700, exist_ok=True)
            dsn = f"sqlite:///{chosen.path}"
        before = current(dsn)
        upgrade(dsn)
    except (SQLAlchemyError, CommandError, OSError) as error:
        # The driver's own words, without SQLAlchemy's advice after them.
        reason = str(getattr(error, "orig", None) or error)
        raise CommandFailed(f"database: {reason}") from error
    if before == head():
        text = f"the schema was at revision {before} already"
    else:
        text = f"the schema is at revision {head()} now; before: {before or 'none'}"
    context.report.say("schema", text, before=before, now=head())
    return ALL_WELL
