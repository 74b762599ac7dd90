"""``qabel-block user``: the users of built-in accounts (PROTOCOL section 10)."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from qabel_block.accounts.defaults import STORAGE_QUOTA, TRAFFIC_QUOTA
from qabel_block.accounts.tokens import new_token, token_digest
from qabel_block.cli.arguments import reader
from qabel_block.cli.commands import Implementation, Work, no_arguments
from qabel_block.cli.context import CommandContext, open_accounts
from qabel_block.cli.locations import LEDGER_OPTIONS, STORAGE_OPTIONS
from qabel_block.cli.one_time_token import making_token, show_token
from qabel_block.cli.reports import Column, in_bytes
from qabel_block.cli.runner import ALL_WELL, say
from qabel_block.config import values
from qabel_block.model import UNLIMITED, NewToken, User
from qabel_block.rules.quota import month_of


def show_quota(count: int) -> str:
    """Return a quota as people read it."""
    return "unlimited" if count == UNLIMITED else in_bytes(count)


def add_name(parser: ArgumentParser) -> None:
    """Add the name of a user who is there."""
    parser.add_argument("name", metavar="NAME", help="The user's name.")


_COLUMNS = (
    Column("name", "name"),
    Column("id", "id"),
    Column("state", "state"),
    Column("used", "stored", in_bytes),
    Column("quota", "quota", show_quota),
    Column("downloaded", "downloaded this month", in_bytes),
    Column("traffic", "traffic quota", show_quota),
    Column("created", "created"),
)


def _row(user: User) -> tuple[object, ...]:
    return (
        user.name,
        user.user_id,
        _state(user),
        user.stored,
        user.storage_quota,
        user.downloaded,
        user.traffic_quota,
        user.created,
    )


def _state(user: User) -> str:
    if user.erasing:
        return "being deleted"
    return "active" if user.active else "disabled"


def _add_quotas(parser: ArgumentParser, storage: str, traffic: str) -> None:
    for name, default, of in (
        ("quota", storage, "bytes that may be stored"),
        ("traffic", traffic, "bytes that may be downloaded in a month"),
    ):
        shown = f" [default: {default}]" if default else ""
        parser.add_argument(
            f"--{name}",
            type=reader(values.quota),
            metavar="SIZE",
            help=f"The {of}: a number, 500M, 10G, 2T, or unlimited{shown}.",
        )


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name",
        type=reader(values.user_name),
        metavar="NAME",
        help="A new name: up to 64 of a-z 0-9 . _ -, a letter or digit first.",
    )
    _add_quotas(parser, "10G", "100G")


async def _add(context: CommandContext) -> int:
    arguments = context.arguments
    name, token = arguments.name, new_token()
    storage, traffic = arguments.quota, arguments.traffic
    async with open_accounts(context, create=True) as accounts:
        with making_token(name):
            user_id = await accounts.add_user(
                name,
                STORAGE_QUOTA if storage is None else storage,
                TRAFFIC_QUOTA if traffic is None else traffic,
                NewToken(token_digest(token), label="first"),
            )
            (first,) = await accounts.tokens(user_id)
        facts = {"name": name, "id": user_id, "token": token}
        await show_token(context, accounts, "user", first.id, facts)
    if not context.arguments.quiet:
        say("this is the user's token; it is shown only now")
    return ALL_WELL


async def _list(context: CommandContext) -> int:
    month = month_of(context.now())
    async with open_accounts(context) as accounts:
        rows = [_row(user) async for page in accounts.users(month) for user in page]
    context.report.table("user", "Users", _COLUMNS, rows)
    return ALL_WELL


async def _show(context: CommandContext) -> int:
    month = month_of(context.now())
    async with open_accounts(context) as accounts:
        user = await accounts.user(context.arguments.name, month)
    cells = list(zip(_COLUMNS, _row(user), strict=True))
    lines = [f"{column.title}: {column.show(cell)}" for column, cell in cells]
    facts = {column.name: cell for column, cell in cells}
    context.report.say("user", "\n".join(lines), **facts)
    return ALL_WELL


def _set_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    _add_quotas(parser, "", "")
    parser.add_argument(
        "--name",
        dest="new_name",
        type=reader(values.user_name),
        metavar="NAME",
        help="Another name.",
    )


async def _set(context: CommandContext) -> int:
    arguments = context.arguments
    async with open_accounts(context) as accounts:
        user = await accounts.set_user(
            arguments.name,
            storage_quota=arguments.quota,
            traffic_quota=arguments.traffic,
            new_name=arguments.new_name,
        )
    context.report.say(
        "user",
        f"{user.name}: {show_quota(user.storage_quota)},"
        f" {show_quota(user.traffic_quota)} a month",
        name=user.name,
        id=user.user_id,
        quota=user.storage_quota,
        traffic=user.traffic_quota,
    )
    return ALL_WELL


async def _disable(context: CommandContext) -> int:
    return await _set_active(context, False)


async def _enable(context: CommandContext) -> int:
    return await _set_active(context, True)


async def _set_active(context: CommandContext, active: bool) -> int:
    async with open_accounts(context) as accounts:
        user = await accounts.set_user(context.arguments.name, active=active)
    context.report.say(
        "user",
        f"{user.name} is {_state(user)}",
        name=user.name,
        id=user.user_id,
        state=_state(user),
    )
    return ALL_WELL


def on_ledger(
    work: Work, add_arguments: Callable[[ArgumentParser], None] = no_arguments
) -> Implementation:
    """Return a command about users. It may be given the storage as well, as commands
    that delete are."""
    return Implementation(work, LEDGER_OPTIONS, add_arguments, STORAGE_OPTIONS)


COMMANDS = {
    "user add": on_ledger(_add, _add_arguments),
    "user list": on_ledger(_list),
    "user show": on_ledger(_show, add_name),
    "user set": on_ledger(_set, _set_arguments),
    "user disable": on_ledger(_disable, add_name),
    "user enable": on_ledger(_enable, add_name),
}
