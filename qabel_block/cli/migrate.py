"""``qabel-block migrate``."""

from __future__ import annotations

from argparse import ArgumentParser

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.threads import deferToThreadPool

from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext
from qabel_block.cli.locations import LEDGER_OPTIONS
from qabel_block.cli.runner import ALL_WELL, CommandFailed
from qabel_block.config.config import PostgresLedger, SqliteLedger
from qabel_block.ledger.migrate import current, downgrade, is_legacy, upgrade
from qabel_block.ledger.migrate_check import unknown_revision
from qabel_block.ledger.revisions import HEAD, REVISIONS
from qabel_block.names import shown


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="REVISION",
        help="Bring them to this revision instead, the server being stopped. What only"
        " newer revisions have a place for is lost.",
    )


async def migrate(context: CommandContext) -> int:
    """Bring the database to the newest revision, or to another.

    :raises CommandFailed: if there is no such revision, or the database doesn't do
        it; it is then as it was before.
    """
    wanted = context.arguments.to or HEAD
    if wanted not in REVISIONS:
        known = ", ".join(reversed(REVISIONS))
        raise CommandFailed(f"there is no revision {shown(wanted)}; there are: {known}")
    reactor, chosen = context.reactor, context.locations.ledger
    # Whatever is broken off is as if it had not begun: the reactor's threads, which
    # are not waited for then, will do.
    before = await deferToThreadPool(
        reactor, reactor.getThreadPool(), _migrate, chosen, wanted
    )
    if before == wanted:
        text = f"the schema was at revision {before} already"
    else:
        text = f"the schema is at revision {wanted} now; before: {before or 'none'}"
    context.report.say("schema", text, before=before, now=wanted)
    return ALL_WELL


def _migrate(chosen: PostgresLedger | SqliteLedger, wanted: str) -> str | None:
    """Move a ledger to a revision and return the one before; blocks."""
    try:
        if isinstance(chosen, PostgresLedger):
            dsn = chosen.dsn
        else:
            chosen.path.parent.mkdir(mode=0o700, exist_ok=True)
            dsn = f"sqlite:///{chosen.path}"
        before = current(dsn)
        if before is not None and before not in REVISIONS:
            reason = unknown_revision(before, is_legacy(dsn))
            raise CommandFailed(f"database: {reason}")
        move = downgrade if _is_older(wanted, before) else upgrade
        move(dsn, wanted)
    except (SQLAlchemyError, CommandError, OSError) as error:
        # The driver's own words, without SQLAlchemy's advice after them.
        reason = str(getattr(error, "orig", None) or error)
        raise CommandFailed(f"database: {reason}") from error
    return before


def _is_older(one: str, other: str | None) -> bool:
    order = REVISIONS
    return other is not None and order.index(one) > order.index(other)


COMMANDS = {"migrate": Implementation(migrate, LEDGER_OPTIONS, _add_arguments)}
