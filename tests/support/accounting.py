"""A double of the accounting server, over TCP or in memory (PROTOCOL section 5)."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.support.background import background_reactor, in_background


@frozen
class AccountingUser:
    """What the double knows of a user."""

    user_id: int
    active: bool
    block_quota: int
    monthly_traffic_quota: int


@frozen
class Call:
    """A request that the double has got; its headers' names are in lower case."""

    headers: dict[str, str]
    body: dict[str, Any]


@define(eq=False)
class AccountingDouble:
    """Answers as the accounting server does, or fails as it is told.

    In a ``with`` statement it listens on a port of 127.0.0.1.

    :ivar status: answer this instead, if it is set.
    :ivar delay: seconds before an answer.
    :ivar hang_up: whether to close the connection without an answer.
    :ivar body: answer this instead, if it is set.
    :ivar stall: whether to stop in the middle of the answer's body, for good.
    """

    secret: str = "s3cret-of-the-double"
    status: int | None = None
    delay: float = 0
    hang_up: bool = False
    body: bytes | None = None
    stall: bool = False
    calls: list[Call] = field(factory=list)
    _tokens: dict[str, int] = field(factory=dict)
    _users: dict[int, AccountingUser] = field(factory=dict)
    _port: Any = None

    def __enter__(self) -> AccountingDouble:
        reactor = background_reactor()
        self._port = in_background(
            reactor.listenTCP, 0, self.site(reactor), interface="127.0.0.1"
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        in_background(self._port.stopListening)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.getHost().port}"

    def site(self, clock: IReactorTime) -> Site:
        """Return what makes the protocols of connections.

        :param clock: by which answers are delayed.
        """
        return _Site(_Page(self, clock), reactor=clock)

    def add_user(
        self,
        token: str,
        user_id: int,
        active: bool = True,
        block_quota: int = 2**40,
        monthly_traffic_quota: int = 2**40,
    ) -> None:
        """Give a user a token; what else is known of the user is replaced."""
        self._tokens[token] = user_id
        self._users[user_id] = AccountingUser(
            user_id, active, block_quota, monthly_traffic_quota
        )

    def give_token(self, token: str, user_id: int) -> None:
        """Let a token be another user's, or nobody's if there is no such user."""
        self._tokens[token] = user_id

    def update(self, user_id: int, **changes: Any) -> None:
        """Change what is known of a user."""
        self._users[user_id] = evolve(self._users[user_id], **changes)

    def answer(self, secret: str, question: dict[str, Any]) -> tuple[int, object]:
        """Return status and body of an answer."""
        if secret != self.secret:
            return 403, {"error": "Invalid API key"}
        if "auth" in question:
            scheme, _, token = question["auth"].partition(" ")
            if scheme != "Token" or not token:
                return 400, {"error": "malformed header"}
            user = self._users.get(self._tokens.get(token, -1))
        else:
            user = self._users.get(question["user_id"])
        if user is None:
            return 404, {"error": "unknown"}
        return 200, {
            "user_id": user.user_id,
            "active": user.active,
            "block_quota": user.block_quota,
            "monthly_traffic_quota": user.monthly_traffic_quota,
        }


class _Site(Site):
    noisy = False

    def log(self, request: Any) -> None:
        """Log nothing."""


class _Page(Resource):
    isLeaf = True

    def __init__(self, double: AccountingDouble, clock: IReactorTime) -> None:
        super().__init__()
        self._double = double
        self._clock = clock

    def render_POST(self, request: Any) -> int:
        headers = {
            name.decode().lower(): b",".join(values).decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        call = Call(headers, json.loads(request.content.read()))
        self._double.calls.append(call)
        answering = self._clock.callLater(
            self._double.delay, self._answer, request, call
        )

        def cancel(_left: object) -> None:
            if answering.active():
                answering.cancel()

        request.notifyFinish().addErrback(cancel)
        return NOT_DONE_YET

    def _answer(self, request: Any, call: Call) -> None:
        double = self._double
        if double.hang_up:
            request.loseConnection()
            return
        status, answer = double.answer(call.headers.get("apisecret", ""), call.body)
        if request.path != b"/api/v0/internal/user/":
            status, answer = 404, {"error": "no such page"}
        body = json.dumps(answer).encode() if double.body is None else double.body
        request.setResponseCode(double.status or status)
        request.setHeader("Content-Type", "application/json")
        request.setHeader("Content-Length", str(len(body)))
        if double.stall:
            request.write(body[:5])
            return
        request.write(body)
        request.finish()
