"""Finds the account of a request, for all front ends."""

from __future__ import annotations

from qabel_block.accounts.failed_logins import LoginGuard
from qabel_block.errors import Unavailable
from qabel_block.http.transport.limits import origin
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.trusted_proxies import Peer
from qabel_block.model import Account
from qabel_block.operations.upload import Renew

RENEW_SECONDS = 1.0
"""For how long after the head of a request its account is taken to be as it was."""


async def log_in(
    request: StreamingRequest, logins: LoginGuard, authorization: str
) -> Account:
    """Return the account of a token, and take note of the user for the log.

    :param authorization: the value of the header ``Authorization``.
    :raises BlockError: what :meth:`LoginGuard.authenticate` raises.
    """
    account = await logins.authenticate(
        authorization, request.request_id, _login_origin(request)
    )
    request.user_id = account.user_id
    return account


def renewal(
    request: StreamingRequest, logins: LoginGuard, authorization: str, account: Account
) -> Renew:
    """Return what tells the account of a request once its body has been received.

    Who can't be asked then has said a moment ago, or when the body began to come, that
    it is good.

    :param account: as it was when the head had come.
    """

    async def renew() -> Account:
        if request.site.reactor.seconds() - request.arrived < RENEW_SECONDS:
            return account
        try:
            return await logins.authenticate_again(authorization, request.request_id)
        except Unavailable:
            return account

    return renew


def _login_origin(request: StreamingRequest) -> str | None:
    """Return whose tokens that fail count together; ``None`` for whoever is on this
    machine, and for proxies, if they don't say for whom they speak."""
    client, proxies = request.client, request.site.proxies
    if origin(client) is None:
        forwarded = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
        client = proxies.client(Peer(client, True), forwarded, local=True)
    where = origin(client)
    return None if where is None or proxies.trusts(client) else where
