"""``qabel-block user delete``: erases a user (PROTOCOL section 10)."""

from __future__ import annotations

from argparse import ArgumentParser

from qabel_block.cli.commands import Implementation
from qabel_block.cli.confirmation import add_yes, confirm, prefix_erasure
from qabel_block.cli.context import CommandContext, open_parts
from qabel_block.cli.locations import PLACES
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL
from qabel_block.cli.user import add_name
from qabel_block.ledger.accounts import AccountTable
from qabel_block.operations.user_erasure import UserErasure
from qabel_block.rules.quota import month_of


def _add_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    add_yes(parser)


async def _delete(context: CommandContext) -> int:
    name = context.arguments.name
    async with open_parts(context) as parts:
        accounts = AccountTable(parts.database, context.reactor.seconds)
        user = await accounts.user(name, month_of(context.now()))
        confirm(context, f"{name} and all that {name} has ({in_bytes(user.stored)})")
        await accounts.begin_erasure(name)
        context.progress.begin("delete", "objects")
        erasure = UserErasure(accounts, prefix_erasure(parts))
        erased = await erasure.erase(user.user_id, context.advance)
        context.progress.end()
    objects, size = f"{erased.objects:,} objects", in_bytes(erased.size)
    earlier = ", besides what went when this was run before" if user.erasing else ""
    context.report.say(
        "user-deleted",
        f"{name} is deleted: {objects}, {size}{earlier}. Backups keep what they have.",
        name=name,
        id=user.user_id,
        objects=erased.objects,
        bytes=erased.size,
        resumed=user.erasing,
    )
    return ALL_WELL


COMMANDS = {"user delete": Implementation(_delete, PLACES, _add_arguments)}
