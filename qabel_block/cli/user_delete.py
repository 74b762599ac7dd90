"""``qabel-block user delete``: erases a user (PROTOCOL section 10)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from qabel_block.cli.arguments import Syntax
from qabel_block.cli.context import CommandContext, opened
from qabel_block.cli.reports import in_bytes
from qabel_block.cli.runner import ALL_WELL, CommandFailed
from qabel_block.cli.user import OPTIONS, add_name
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.erasure import Erasure
from qabel_block.model import User
from qabel_block.operations.user_erasure import UserErasure
from qabel_block.rules.quota import month_of


def _add_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "--yes",
        action="store_true",
        help="Do not ask. What is deleted can't be had back, but from a backup.",
    )


async def _delete(context: CommandContext) -> int:
    name = context.arguments.name
    async with opened(context) as parts:
        accounts = AccountTable(parts.database, context.reactor.seconds)
        user = await accounts.user(name, month_of(context.now()))
        if not context.arguments.yes:
            _confirm(user)
        await accounts.begin_erasure(name)
        context.progress.begin("delete", "objects")
        erasure = UserErasure(
            accounts,
            Erasure(parts.database),
            parts.ledger,
            parts.storage,
            parts.listing,
        )
        erased = await erasure.erase(user.user_id, context.advance)
        context.progress.end()
    context.report.say(
        "user-deleted",
        f"{name} is deleted: {erased.objects:,} objects, {in_bytes(erased.size)}."
        " Backups keep what they have.",
        name=name,
        id=user.user_id,
        objects=erased.objects,
        bytes=erased.size,
    )
    return ALL_WELL


def _confirm(user: User) -> None:
    """Ask on the terminal.

    :raises CommandFailed: if the answer is not ``yes``.
    """
    sys.stderr.write(
        f"Delete {user.name} and all that {user.name} has"
        f" ({in_bytes(user.stored)}), at once and for good? Type yes: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "yes":
        raise CommandFailed("not confirmed: nothing is deleted")


COMMANDS = (
    (
        Syntax(
            "user delete",
            "Delete a user and all that the user has: tokens and access at once, then"
            " prefixes, objects, repositories and traffic. It can be interrupted and"
            " run again. Backups keep what they have.",
            _add_arguments,
            OPTIONS,
        ),
        _delete,
    ),
)
