"""``qabel-block collect``."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timedelta, timezone

from twisted.internet.task import deferLater

from qabel_block.cli.arguments import reader
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.locations import GRACE, PLACES
from qabel_block.cli.runner import ALL_WELL, FAILED, FINDINGS
from qabel_block.config import values
from qabel_block.operations.collector import (
    PENDING_SECONDS,
    CollectedGarbage,
    Collector,
)


def _add_arguments(parser: ArgumentParser) -> None:
    add_grace(
        parser, "Delete only what has been garbage for so long, by the database's clock"
    )


def add_grace(parser: ArgumentParser, what: str) -> None:
    """Add the option that says how long a blob stays."""
    parser.add_argument(
        "--grace",
        type=reader(values.not_negative),
        metavar="SECONDS",
        help=f"{what} [default: --garbage-grace, as the server]. With less, downloads"
        " that have begun may break off; uploads are spared.",
    )


def chosen_grace(context: CommandContext) -> int:
    """Return the seconds that ``--grace`` says, or else what the server keeps to."""
    grace: int | None = context.arguments.grace
    return context.locations.garbage_grace if grace is None else grace


def due(since: datetime | None, grace: float, now: float) -> str | None:
    """Return when a blob may be deleted that is garbage since then, if that is yet to
    come; for people and scripts.

    :param now: seconds since 1970.
    """
    if since is None:
        return None
    wait = timedelta(seconds=max(grace, PENDING_SECONDS))
    end = since.astimezone(timezone.utc) + wait
    return end.isoformat(timespec="seconds") if end.timestamp() > now else None


async def collect(context: CommandContext) -> int:
    """Do what the server's collector does from time to time."""
    grace = chosen_grace(context)
    async with open_parts(context) as parts:
        await parts.identity.bind()
        total = await parts.maintenance.count_garbage(grace)
        context.progress.begin("collect", "blobs", total)
        collector = Collector(parts.ledger, parts.storage, context.reactor, grace)
        collected = await collector.collect(told=context.advance)
        waiting = await parts.maintenance.noted_garbage()
        if waiting.count and grace < PENDING_SECONDS and not collected.failed:
            # What a crash has left looks like an upload under way, for a moment.
            await deferLater(context.reactor, PENDING_SECONDS - grace)
            more = await collector.collect(told=context.advance)
            deleted = collected.deleted + more.deleted
            collected = CollectedGarbage(deleted, more.failed)
            waiting = await parts.maintenance.noted_garbage()
        context.progress.end()
    now = context.now()
    first, last = (due(t, grace, now) for t in (waiting.oldest, waiting.newest))
    if collected.failed:
        last = None  # nobody knows when those can be deleted
    until = f" until {last} at the latest" if last else ""
    deleted, failed = collected.deleted, collected.failed
    stuck = f", {failed:,} could not be" if failed else ""
    context.report.say(
        "collected",
        f"{deleted:,} blobs deleted{stuck}; {waiting.count:,} wait{until}",
        blobs=deleted,
        failed=failed,
        waiting=waiting.count,
        first=first,
        last=last,
    )
    if not failed:
        return ALL_WELL
    return FINDINGS if deleted else FAILED


COMMANDS = {"collect": Implementation(collect, (*PLACES, GRACE), _add_arguments)}
