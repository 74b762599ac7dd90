"""One token and one user, without an accounting server (``--dummy-auth``)."""

from __future__ import annotations

from hmac import compare_digest

from zope.interface import implementer

from qabel_block.errors import UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.model import Account

STORAGE_QUOTA = 2 * 2**30
TRAFFIC_QUOTA = 20 * 2**30


@implementer(IAuthenticator)
class DummyAuthenticator:
    """Knows user 0, who may write below any prefix (PROTOCOL section 5)."""

    def __init__(self, token: str) -> None:
        # As UTF-8 comes out of a header, whose bytes are decoded as Latin-1.
        self._token = _comparable(token.encode("utf-8").decode("latin-1"))

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        """See :meth:`IAuthenticator.authenticate`."""
        scheme, _, token = authorization.partition(" ")
        # Other blanks of Latin-1 may be bytes of a letter.
        given = _comparable(token.strip(" \t"))
        if scheme.lower() != "token" or not compare_digest(given, self._token):
            raise UnknownUser
        return await self.account(0, request_id)

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        """See :meth:`IAuthenticator.recall`."""
        try:
            return await self.authenticate(authorization, request_id)
        except UnknownUser:
            return None

    async def account(self, user_id: int, request_id: str) -> Account:
        """See :meth:`IAuthenticator.account`."""
        return Account(user_id, True, STORAGE_QUOTA, TRAFFIC_QUOTA, any_prefix=True)

    async def check(self) -> None:
        """See :meth:`IAuthenticator.check`."""

    async def close(self) -> None:
        """See :meth:`IAuthenticator.close`."""


def _comparable(text: str) -> bytes:
    """Return any text as bytes: text that is not ASCII can't be compared."""
    return text.encode("utf-8", "surrogatepass")
