"""Whether a token still opens a prefix's WebSocket."""

from __future__ import annotations

from qabel_block.accounts.failed_logins import LoginGuard
from qabel_block.model import Account
from qabel_block.operations.objects import Operations


class PrefixAccess:
    """Checks again and again what the handshake of a socket has checked.

    The accounts' caches answer most checks. The prefix's owner is looked up only when
    they bring an account that they have looked up anew.

    :param authorization: the value of the handshake's header ``Authorization``.
    :param request_id: of the handshake.
    """

    __slots__ = (
        "_account",
        "_authorization",
        "_logins",
        "_operations",
        "_prefix",
        "_request_id",
    )

    def __init__(
        self,
        logins: LoginGuard,
        operations: Operations,
        authorization: str,
        request_id: str,
        prefix: str,
    ) -> None:
        self._logins = logins
        self._operations = operations
        self._authorization = authorization
        self._request_id = request_id
        self._prefix = prefix
        self._account: Account | None = None

    async def check(self) -> None:
        """Make sure that the token is valid and the prefix its user's own.

        :raises UnknownUser: if the token has expired, or was revoked.
        :raises NotOwner: if the prefix is another's, or gone.
        :raises Unavailable: if nobody can tell at the moment.
        """
        account = await self._logins.authenticate_again(
            self._authorization, self._request_id
        )
        if account is not self._account:
            await self._operations.check_prefix(account, self._prefix)
            self._account = account
