"""``qabel-block collect``."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta, timezone

from qabel_block.cli.arguments import at_least
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.locations import GRACE, PLACES
from qabel_block.cli.runner import ALL_WELL
from qabel_block.operations.collector import Collector


def _add_arguments(parser: ArgumentParser) -> None:
    add_grace(
        parser, "Delete only what has been garbage for so long, by the database's clock"
    )


def add_grace(parser: ArgumentParser, what: str) -> None:
    """Add the option that says how long a blob stays."""
    parser.add_argument(
        "--grace",
        type=at_least(0),
        metavar="SECONDS",
        help=f"{what} [default: --garbage-grace, as the server]. With less, downloads"
        " that have begun may break off.",
    )


def chosen_grace(context: CommandContext) -> int:
    """Return the seconds that ``--grace`` says, or else what the server keeps to."""
    grace: int | None = context.arguments.grace
    return context.locations.garbage_grace if grace is None else grace


def due(since: datetime | None, grace: float) -> str | None:
    """Return when a blob may be deleted that is garbage since then; for people and
    scripts."""
    if since is None:
        return None
    end = since.astimezone(timezone.utc) + timedelta(seconds=grace)
    return end.isoformat(timespec="seconds")


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
        waiting = await parts.maintenance.noted_garbage()
    last = due(waiting.newest, grace)
    until = f" until {last} at the latest" if last else ""
    context.report.say(
        "collected",
        f"{count:,} blobs deleted; {waiting.count:,} wait{until}",
        blobs=count,
        waiting=waiting.count,
        first=due(waiting.oldest, grace),
        last=last,
    )
    return ALL_WELL


COMMANDS = {"collect": Implementation(collect, (*PLACES, GRACE), _add_arguments)}
