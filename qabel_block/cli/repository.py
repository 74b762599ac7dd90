"""``qabel-block repository``: restic repositories (PROTOCOL section 11)."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError

from qabel_block.cli.commands import Implementation
from qabel_block.cli.confirmation import add_yes, confirm, prefix_erasure
from qabel_block.cli.context import CommandContext, open_database, open_parts
from qabel_block.cli.locations import LEDGER_OPTIONS, PLACES, STORAGE_OPTIONS
from qabel_block.cli.reports import Column, in_bytes
from qabel_block.cli.runner import ALL_WELL, FINDINGS, say
from qabel_block.cli.unknown_prefixes import split_known
from qabel_block.config import values
from qabel_block.errors import AccountNotFound, NotOwner
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.repositories import RepositoryTable
from qabel_block.model import RepositoryUsage
from qabel_block.names import is_prefix, is_repository_name, shown
from qabel_block.rules.quota import month_of

_NAME = "The user: a name of built-in accounts, or a user ID."
_COLUMNS = (
    Column("user", "user"),
    Column("repository", "repository"),
    Column("files", "files"),
    Column("size", "size", in_bytes),
    Column("last_snapshot", "last snapshot", lambda time: time or "never"),
)


def _list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=_NAME)


async def _list(context: CommandContext) -> int:
    async with open_database(context) as database:
        name, user_id = context.arguments.name, None
        if name is not None:
            user_id = await _user_id(context, database, name)
        used = await RepositoryTable(database).usage(user_id)
    rows = [(_name(u), u.name, u.files, u.size, u.last_snapshot) for u in used]
    context.report.table("repository", "Repositories", _COLUMNS, rows)
    return ALL_WELL


def _delete_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=_NAME)
    parser.add_argument("repository", metavar="REPOSITORY", help="The repository.")
    add_yes(parser)


async def _delete(context: CommandContext) -> int:
    name, repository = context.arguments.name, context.arguments.repository
    async with open_parts(context) as parts:
        table = RepositoryTable(parts.database)
        user_id = await _user_id(context, parts.database, name)
        prefix = await table.prefix(user_id, repository)
        if prefix is None:
            say(f"{name} has no repository {repository}")
            return FINDINGS
        (there,) = [u for u in await table.usage(user_id) if u.name == repository]
        what = f"{repository} of {name}"
        confirm(context, f"{what} ({there.files:,} files, {in_bytes(there.size)})")
        context.progress.begin("delete", "files", there.files)
        erased = await prefix_erasure(parts).erase(prefix, context.advance)
        context.progress.end()
    context.report.say(
        "repository-deleted",
        f"{what} is deleted: {erased.objects:,} files, {in_bytes(erased.size)}."
        " Backups keep what they have.",
        user=name,
        repository=repository,
        files=erased.objects,
        bytes=erased.size,
    )
    return ALL_WELL


def _repository(text: str) -> str:
    if not is_repository_name(text):
        raise ArgumentTypeError(f"not a name of a repository: {shown(text)}")
    return text


def _prefix(text: str) -> str:
    if not is_prefix(text):
        raise ArgumentTypeError(f"not a prefix: {shown(text)}")
    return text


def _attach_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=_NAME)
    parser.add_argument(
        "repository", metavar="REPOSITORY", type=_repository, help="Its new name."
    )
    parser.add_argument(
        "prefix",
        metavar="PREFIX",
        type=_prefix,
        help="Below which its blobs are, as rebuild and verify name it.",
    )


async def _attach(context: CommandContext) -> int:
    name, repository = context.arguments.name, context.arguments.repository
    prefix = context.arguments.prefix
    async with open_parts(context) as parts:
        user_id = await _user_id(context, parts.database, name)
        known, unknown = await split_known(parts, [prefix])
        if known:
            say(f"the ledger knows {prefix} already")
            return FINDINGS
        if not unknown:
            say(f"storage holds nothing below {prefix}")
            return FINDINGS
        table = RepositoryTable(parts.database)
        try:
            created = await table.create(user_id, repository, prefix)
        except NotOwner:
            say(f"{name} is deleted, or {prefix} has got an owner meanwhile")
            return FINDINGS
        if not created:
            say(f"{name} has a repository {repository} already")
            return FINDINGS
    context.report.say(
        "repository-attached",
        f"{prefix} is now {repository} of {name}; its files come back with"
        " qabel-block rebuild",
        user=name,
        repository=repository,
        prefix=prefix,
    )
    return ALL_WELL


async def _user_id(context: CommandContext, database: IDatabase, name: str) -> int:
    """Return the ID of a user, who need not have one of the built-in accounts.

    :raises AccountNotFound: if there can't be such a user.
    """
    accounts = AccountTable(database, context.reactor.seconds)
    try:
        user = await accounts.user(name, month_of(context.now()))
    except AccountNotFound:
        try:
            return values.not_negative(name)
        except ValueError:
            raise AccountNotFound(f"there is no user {name}") from None
    return user.user_id


def _name(used: RepositoryUsage) -> str:
    return str(used.user_id) if used.user is None else used.user


COMMANDS = {
    "repository list": Implementation(
        _list, LEDGER_OPTIONS, _list_arguments, STORAGE_OPTIONS
    ),
    "repository attach": Implementation(_attach, PLACES, _attach_arguments),
    "repository delete": Implementation(_delete, PLACES, _delete_arguments),
}
