"""``qabel-block collect``."""

from __future__ import annotations

from argparse import ArgumentParser

from qabel_block.cli.arguments import LEDGER_OPTIONS, STORAGE_OPTIONS, at_least
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.runner import ALL_WELL
from qabel_block.operations.collector import Collector

HELP = "Delete garbage once, now: blobs that were replaced or deleted."

OPTIONS = (*LEDGER_OPTIONS, *STORAGE_OPTIONS)


def add_arguments(parser: ArgumentParser) -> None:
    """Add what only this command has."""
    add_grace(parser, "Delete only what has been garbage for so long")


def add_grace(parser: ArgumentParser, what: str) -> None:
    """Add the option that says how long a blob stays."""
    parser.add_argument(
        "--grace",
        type=at_least(0),
        metavar="SECONDS",
        help=f"{what} [default: --garbage-grace, as the server]. With less, downloads"
        " that began before may break off.",
    )


def chosen_grace(context: CommandContext) -> int:
    """Return the seconds that ``--grace`` says, or else what the server keeps to."""
    grace: int | None = context.arguments.grace
    return context.locations.garbage_grace if grace is None else grace


async def collect(context: CommandContext) -> int:
    """Do what the server's collector does from time to time."""
    grace = chosen_grace(context)
    async with open_parts(context) as parts:
        await parts.identity.bind()
        total = await parts.maintenance.count_garbage(grace)
        context.progress.begin("collect", "blobs", total)
        collector = Collector(parts.ledger, parts.storage, context.reactor, grace)
        count = await collector.collect(told=context.advance)
        context.progress.end()
        context.report.say("collected", f"{count:,} blobs deleted", blobs=count)
    return ALL_WELL
