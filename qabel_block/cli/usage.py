"""``qabel-block usage``."""

from __future__ import annotations

from argparse import ArgumentParser

from attrs import astuple

from qabel_block.cli.arguments import reader
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, open_ledger
from qabel_block.cli.locations import LEDGER_OPTIONS
from qabel_block.cli.reports import Column, in_bytes
from qabel_block.cli.runner import ALL_WELL
from qabel_block.config import values
from qabel_block.model import UserUsage
from qabel_block.rules.quota import month_of


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--top",
        type=reader(values.positive),
        default=20,
        metavar="N",
        help="How many users [default: 20].",
    )


async def usage(context: CommandContext) -> int:
    """Print two tables: by storage, and by the traffic of this month (UTC)."""
    month = month_of(context.now())
    columns = (
        Column("user", "user"),
        Column("stored", "stored", in_bytes),
        Column("downloaded", f"downloaded in {month[:7]}", in_bytes),
    )

    def table(kind: str, title: str, users: list[UserUsage]) -> None:
        context.report.table(kind, title, columns, [astuple(user) for user in users])

    async with open_ledger(context) as parts:
        top = context.arguments.top
        table(
            "by-storage",
            "Users by storage",
            await parts.maintenance.top_by_storage(month, top),
        )
        table(
            "by-traffic",
            f"Users by traffic in {month[:7]}",
            await parts.maintenance.top_by_traffic(month, top),
        )
    return ALL_WELL


COMMANDS = {"usage": Implementation(usage, LEDGER_OPTIONS, _add_arguments)}
