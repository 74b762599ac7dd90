"""Finds the account of a request, for all front ends."""

from __future__ import annotations

from qabel_block.accounts.failed_logins import LoginGuard
from qabel_block.http.transport.limits import origin
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.model import Account


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


def _login_origin(request: StreamingRequest) -> str | None:
    """Return whose tokens that fail count together; ``None`` for whoever is on this
    machine, and for proxies that don't say for whom they speak."""
    where = origin(request.client)
    if where is None or request.site.proxies.trusts(request.client):
        return None
    return where
