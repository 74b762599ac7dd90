"""Shows a new token, which can't be shown again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from twisted.internet.defer import CancelledError

from qabel_block.cli.context import CommandContext
from qabel_block.cli.runner import CommandFailed, Interrupted
from qabel_block.cli.streams import OutputFailed, check_output, flush_output
from qabel_block.ledger.accounts import AccountTable


@contextmanager
def making_token(name: str) -> Iterator[None]:
    """Make a token, which must not get lost.

    :param name: of the user.
    :raises OutputFailed: if it could not be shown.
    :raises Interrupted: if that is cancelled; whether it was made is not known then.
    """
    check_output()
    try:
        yield
    except CancelledError:
        raise Interrupted(
            f"interrupted; {name} may have a token now that nobody has seen, see:"
            f" qabel-block token list {name}"
        ) from None


async def show_token(
    context: CommandContext,
    accounts: AccountTable,
    kind: str,
    number: int,
    facts: Mapping[str, object],
) -> None:
    """Print a token, or else revoke it.

    :param number: the token's.
    :param facts: the user's ``name``, the ``token``, and what else to report.
    :raises CommandFailed: if it can't be printed.
    """
    try:
        context.report.say(kind, str(facts["token"]), **facts)
        flush_output()
    except OutputFailed as error:
        name = str(facts["name"])
        await accounts.revoke_token(name, number)
        raise CommandFailed(
            f"{error}: token {number} of {name} could not be shown and is revoked; for"
            f" another, run: qabel-block token add {name}"
        ) from error
