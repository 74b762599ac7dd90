"""A double of the accounting server, over real HTTP (PROTOCOL section 5)."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, evolve, field, frozen


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

    :ivar status: answer this instead, if it is set.
    :ivar delay: seconds before an answer.
    :ivar hang_up: whether to close the connection without an answer.
    :ivar body: answer this instead, if it is set.
    :ivar stall: whether to stop in the middle of the answer's body.
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
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> AccountingDouble:
        double = self

        class Handler(_Handler):
            accounting = double

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        ).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}"

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients that give up are what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A body that follows its head in a segment of its own would wait 40 ms for the
    # client to acknowledge that.
    disable_nagle_algorithm = True
    accounting: AccountingDouble

    def do_POST(self) -> None:
        double = self.accounting
        length = int(self.headers["Content-Length"])
        question = json.loads(self.rfile.read(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        double.calls.append(Call(headers, question))
        if double.delay:
            time.sleep(double.delay)
        if double.hang_up:
            self.close_connection = True
            return
        status, answer = double.answer(self.headers.get("APISECRET", ""), question)
        if self.path != "/api/v0/internal/user/":
            status, answer = 404, {"error": "no such page"}
        body = json.dumps(answer).encode() if double.body is None else double.body
        self.send_response(double.status or status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if double.stall:
            self.wfile.write(body[:5])
            self.wfile.flush()
            while double.stall:
                time.sleep(0.01)
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""
