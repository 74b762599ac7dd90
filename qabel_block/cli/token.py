"""``qabel-block token``: the tokens of built-in accounts (PROTOCOL section 10)."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from qabel_block.accounts.tokens import new_token, token_digest
from qabel_block.cli.arguments import reader
from qabel_block.cli.context import CommandContext, open_accounts
from qabel_block.cli.one_time_token import making_token, show_token
from qabel_block.cli.reports import Column
from qabel_block.cli.runner import ALL_WELL, say
from qabel_block.cli.user import add_name, on_ledger
from qabel_block.config import values
from qabel_block.model import NewToken, Permission, Token
from qabel_block.names import shown
from qabel_block.rules.quota import month_of

_DAYS = re.compile(r"([0-9]{1,5})d")


def read_expiry(text: str) -> Callable[[float], int]:
    """Return what tells when a token expires, given what time it is; both in seconds
    since 1970.

    :param text: ``90d``: so many days from now; or a date: at its beginning in UTC.
    :raises ValueError: if it is neither.
    """
    days = _DAYS.fullmatch(text)
    if days is not None:
        after = timedelta(days=int(days[1])).total_seconds()
        return lambda now: int(now + after)
    try:
        moment = datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise ValueError(
            f"'{shown(text)}' is neither a date nor days such as 90d"
        ) from None
    expires = int(moment.replace(tzinfo=timezone.utc).timestamp())
    return lambda now: expires


def _label(text: str) -> str:
    if len(text) > 200:
        raise ValueError("it is longer than 200 characters")
    return values.printable(text)


def _add_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    kinds = parser.add_mutually_exclusive_group()
    for kind, text in (
        (Permission.APPEND_ONLY, "It may create and read, but replace and delete not."),
        (Permission.READ_ONLY, "It may only read."),
    ):
        kinds.add_argument(
            f"--{kind.value}",
            dest="permission",
            action="store_const",
            const=kind,
            default=Permission.FULL,
            help=text,
        )
    parser.add_argument(
        "--label",
        type=reader(_label),
        default="",
        metavar="TEXT",
        help="What it is for, to tell it from others.",
    )
    parser.add_argument(
        "--expires",
        type=reader(read_expiry),
        metavar="DATE|DAYSd",
        help="From when on it is nobody's: a date (2030-12-31, from its beginning in"
        " UTC), or days from now (90d) [default: never].",
    )


async def _add(context: CommandContext) -> int:
    arguments = context.arguments
    name, token = arguments.name, new_token()
    expires = arguments.expires and arguments.expires(context.now())
    new = NewToken(token_digest(token), arguments.permission, arguments.label, expires)
    async with open_accounts(context) as accounts:
        with making_token(name):
            number = await accounts.add_token(name, new)
        facts = {
            "name": name,
            "id": number,
            "token": token,
            "permission": new.permission.value,
            "label": new.label,
            "expires": _show_expiry(new.expires),
        }
        await show_token(context, accounts, "token", number, facts)
    if expires and expires <= context.now():
        say(f"token {number} of {name} is over already; nobody is served for it")
    elif not arguments.quiet:
        say(f"this is token {number} of {name}; it is shown only now")
    return ALL_WELL


_COLUMNS = (
    Column("id", "id"),
    Column("state", "state"),
    Column("permission", "permission"),
    Column("label", "label"),
    Column("created", "created"),
    Column("expires", "expires", lambda moment: moment or "never"),
)


async def _list(context: CommandContext) -> int:
    now = context.now()
    async with open_accounts(context) as accounts:
        user = await accounts.user(context.arguments.name, month_of(now))
        tokens = await accounts.tokens(user.user_id)
    rows = [
        (
            token.id,
            _state(token, now),
            token.permission.value,
            token.label,
            token.created,
            _show_expiry(token.expires),
        )
        for token in tokens
    ]
    context.report.table("token", f"Tokens of {user.name}", _COLUMNS, rows)
    return ALL_WELL


def _state(token: Token, now: float) -> str:
    if token.revoked:
        return "revoked"
    if token.expires is not None and token.expires <= now:
        return "expired"
    return "valid"


def _show_expiry(expires: int | None) -> str | None:
    if expires is None:
        return None
    return datetime.fromtimestamp(expires, timezone.utc).isoformat()


def _revoke_arguments(parser: ArgumentParser) -> None:
    add_name(parser)
    parser.add_argument(
        "id",
        type=reader(values.positive),
        metavar="ID",
        help="Its number, as token list has it.",
    )


async def _revoke(context: CommandContext) -> int:
    arguments = context.arguments
    async with open_accounts(context) as accounts:
        await accounts.revoke_token(arguments.name, arguments.id)
    context.report.say(
        "token",
        f"token {arguments.id} of {arguments.name} is revoked",
        name=arguments.name,
        id=arguments.id,
        state="revoked",
    )
    return ALL_WELL


COMMANDS = {
    "token add": on_ledger(_add, _add_arguments),
    "token list": on_ledger(_list, add_name),
    "token revoke": on_ledger(_revoke, _revoke_arguments),
}
