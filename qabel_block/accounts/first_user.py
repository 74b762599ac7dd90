"""What happens at a start on a ledger without users."""

from __future__ import annotations

from twisted.logger import Logger

from qabel_block.accounts.defaults import STORAGE_QUOTA, TRAFFIC_QUOTA
from qabel_block.accounts.tokens import token_digest
from qabel_block.ledger.accounts import AccountTable
from qabel_block.model import NewToken

log = Logger()


async def make_first_user(
    accounts: AccountTable, name: str | None, token: str | None
) -> None:
    """Make a user, or say how, if there is no user at all.

    Of several processes that begin at the same time one makes it.

    :param name: ``None`` if nobody is to be made.
    :param token: the user's.
    :raises Unavailable: if the ledger is down.
    """
    if name is not None and token is not None:
        made = await accounts.add_first_user(
            name, STORAGE_QUOTA, TRAFFIC_QUOTA, NewToken(token_digest(token))
        )
        if made:
            log.info("there was no user: {name} is made", name=name)
    elif await accounts.is_empty():
        log.info("there is no user yet; make one with: qabel-block user add NAME")
