"""``qabel-block repository``."""

from __future__ import annotations

from argparse import ArgumentParser

from qabel_block.cli.arguments import LEDGER_OPTIONS, STORAGE_OPTIONS, at_least
from qabel_block.cli.context import CommandContext, CommandParts, opened
from qabel_block.cli.erase import confirm, erase_prefix
from qabel_block.cli.reports import Column, in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS, CommandFailed, say
from qabel_block.errors import AccountNotFound
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.repositories import RepositoryTable
from qabel_block.model import RepositoryUsage
from qabel_block.rules.quota import month_of

HELP = (
    "List restic repositories, those of a user or all, or delete one:"
    " `list [NAME]`, `delete NAME REPOSITORY`."
)

OPTIONS = (*LEDGER_OPTIONS, *STORAGE_OPTIONS)

_COLUMNS = (
    Column("user", "user"),
    Column("repository", "repository"),
    Column("files", "files"),
    Column("size", "size", in_bytes),
    Column("last_snapshot", "last snapshot", lambda time: time or "never"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add what only this command has."""
    parser.add_argument("action", choices=("list", "delete"), metavar="list|delete")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="The user: a name of built-in accounts, or a user ID.",
    )
    parser.add_argument("repository", nargs="?", metavar="REPOSITORY")
    parser.add_argument(
        "--yes", action="store_true", help="Delete without asking for a `yes`."
    )


async def repository(context: CommandContext) -> int:
    """List repositories, or delete one.

    :raises CommandFailed: if it is called wrongly, or not confirmed.
    """
    given = context.arguments
    if given.action == "list" and given.repository is not None:
        raise CommandFailed("repository list has one argument, NAME")
    if given.action == "delete" and given.repository is None:
        raise CommandFailed("repository delete has two arguments, NAME and REPOSITORY")
    async with opened(context) as parts:
        try:
            user_id = None
            if given.name is not None:
                user_id = await _user_id(context, parts, given.name)
            if given.action == "list":
                return await _list(context, parts, user_id)
            assert user_id is not None
            return await _delete(context, parts, user_id)
        except AccountNotFound as error:
            say(str(error))
            return FINDINGS


async def _list(
    context: CommandContext, parts: CommandParts, user_id: int | None
) -> int:
    used = await RepositoryTable(parts.database).usage(user_id)
    rows = [(_name(u), u.name, u.files, u.size, u.last_snapshot) for u in used]
    context.report.table("repository", "Repositories", _COLUMNS, rows)
    return ALL_WELL


async def _delete(context: CommandContext, parts: CommandParts, user_id: int) -> int:
    given, table = context.arguments, RepositoryTable(parts.database)
    prefix = await table.prefix(user_id, given.repository)
    if prefix is None:
        say(f"{given.name} has no repository {given.repository}")
        return FINDINGS
    (there,) = [u for u in await table.usage(user_id) if u.name == given.repository]
    confirm(
        f"{there.name} of {_name(there)}: {there.files:,} files,"
        f" {in_bytes(there.size)}, will be deleted for good.",
        given.yes,
    )
    context.progress.begin("delete", "files", there.files)
    total = await erase_prefix(context, parts, prefix)
    context.progress.end()
    context.report.say(
        "deleted",
        f"{total.objects:,} files deleted ({in_bytes(total.size)}); backups of the"
        " storage and the database keep what they have",
        files=total.objects,
        bytes=total.size,
    )
    return ALL_WELL


async def _user_id(context: CommandContext, parts: CommandParts, name: str) -> int:
    """Return the ID of a user, who need not have one of the built-in accounts.

    :raises AccountNotFound: if there can't be such a user.
    """
    accounts = AccountTable(parts.database, context.reactor.seconds)
    try:
        user = await accounts.user(name, month_of(context.reactor.seconds()))
    except AccountNotFound:
        try:
            return min(at_least(0)(name), 2**31 - 1)
        except ValueError:
            raise AccountNotFound(f"there is no user {name}") from None
    return user.user_id


def _name(used: RepositoryUsage) -> str:
    return str(used.user_id) if used.user is None else used.user
