"""Asks the accounting server about users (PROTOCOL section 5)."""

from __future__ import annotations

import json
import math
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger
from zope.interface import implementer

from qabel_block.accounts.query_client import QueryClient
from qabel_block.errors import Unavailable, UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.model import UNLIMITED, Account
from qabel_block.util.budget import time_left

LARGEST_USER_ID = 2**31 - 1
"""The largest one for which the ledger's columns have room."""


def read_account(body: bytes | str) -> Account:
    """Read an account.

    :raises Unavailable: if this is not what PROTOCOL section 5 promises.
    """
    try:
        value = json.loads(body)
        return Account(
            _integer(value["user_id"], LARGEST_USER_ID),
            _flag(value["active"]),
            _integer(value["block_quota"], UNLIMITED),
            _integer(value["monthly_traffic_quota"], UNLIMITED),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unavailable("accounting", "its answer makes no sense") from None


def _integer(value: object, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError
    if not 0 <= value <= largest:
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


log = Logger()

PATH = "/api/v0/internal/user/"
CONNECTIONS = 16
"""Calls under way at a time, and connections kept open."""

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read; a good one has a hundred."""

NOBODY = -1
"""A user ID that no user has."""

CHECK_SECONDS = 4.0
"""Seconds within which the server must answer to count as working."""

CHECKED_SECONDS = 0.5
"""How long the outcome of a check stands for another one: whoever asks ``/readyz``
over and over does not cost the accounting server more than that."""

_UNKNOWN = frozenset({400, 404})


@implementer(IAuthenticator)
class AccountingAuthenticator:
    """A client of the accounting server.

    :param reactor: connects and tells the time.
    :param base_url: of the accounting server.
    :param secret: what it wants as ``APISECRET``.
    :param timeout: seconds for a whole call: waiting for a connection and
        reading the answer included.
    """

    def __init__(
        self, reactor: Any, base_url: str, secret: str, timeout: float = 10.0
    ) -> None:
        self._reactor = reactor
        self._url = base_url.rstrip("/") + PATH
        self._secret = secret
        self._timeout = timeout
        self._client = QueryClient(reactor, CONNECTIONS, timeout, ANSWER_LIMIT)
        self._connections = DeferredSemaphore(CONNECTIONS)
        self._checked_until = -math.inf
        self._trouble: str | None = None

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        """See :meth:`IAuthenticator.authenticate`."""
        return await self._ask({"auth": authorization}, request_id, self._timeout)

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        """See :meth:`IAuthenticator.recall`. Nothing is remembered here."""
        return None

    async def account(self, user_id: int, request_id: str) -> Account:
        """See :meth:`IAuthenticator.account`."""
        return await self._ask({"user_id": user_id}, request_id, self._timeout)

    async def check(self) -> None:
        """See :meth:`IAuthenticator.check`.

        Asks for a user that can't be, unless somebody just did.
        """
        if self._reactor.seconds() >= self._checked_until:
            self._trouble = None
            try:
                await self._ask({"user_id": NOBODY}, "readiness", CHECK_SECONDS)
            except UnknownUser:
                pass
            except Unavailable as error:
                self._trouble = error.reason
            self._checked_until = self._reactor.seconds() + CHECKED_SECONDS
        if self._trouble is not None:
            raise Unavailable("accounting", self._trouble)

    async def close(self) -> None:
        """See :meth:`IAuthenticator.close`."""
        await self._client.close()

    async def _ask(
        self,
        question: dict[str, object],
        request_id: str,
        seconds: float,
    ) -> Account:
        asking = self._connections.run(
            lambda: Deferred.fromCoroutine(self._call(question, request_id))
        )
        try:
            status, body = await asking.addTimeout(time_left(seconds), self._reactor)
        except Exception as error:
            # Not the error's text: it may quote what was sent.
            raise Unavailable(
                "accounting", f"it does not answer ({type(error).__name__})"
            ) from None
        if status == 403:
            raise Unavailable("accounting", "it refuses the APISECRET (403)")
        if status != 200 and status not in _UNKNOWN:
            raise Unavailable("accounting", f"it answers {status}")
        if status in _UNKNOWN:
            raise UnknownUser
        account = read_account(body)
        if question.get("user_id", account.user_id) != account.user_id:
            raise Unavailable("accounting", "it answers for another user")
        return account

    async def _call(
        self, question: dict[str, object], request_id: str
    ) -> tuple[int, bytes]:
        return await self._client.post(
            self._url,
            {
                "APISECRET": self._secret,
                "Content-Type": "application/json",
                "X-Request-ID": request_id,
            },
            json.dumps(question).encode("ascii"),
        )
