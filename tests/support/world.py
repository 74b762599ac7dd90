"""Users of a running server, and a look behind its scenes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, Protocol
from uuid import uuid4

import httpx
from attrs import define, field
from websockets.typing import Subprotocol

from tests.support.accounting import AccountingDouble
from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.settings import Setting
from tests.support.websocket import Socket
from tests.support.wire import Wire


class Server(Protocol):
    """A server, be it a process or in memory."""

    @property
    def url(self) -> str:
        """Where it is."""

    def transport(self) -> httpx.BaseTransport:
        """Return what httpx sends requests by."""

    def wire(self, **options: Any) -> Wire:
        """Open a connection."""

    def websocket(
        self,
        path: str,
        headers: dict[str, str],
        subprotocols: list[Subprotocol] | None = None,
    ) -> Socket:
        """Open a WebSocket.

        :raises InvalidStatus: if the handshake is refused.
        """

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when a condition holds."""

    def log(self) -> str:
        """Return what has been logged."""


_user_ids = itertools.count(1)
LARGE = 2**40


@define
class User:
    """Somebody with an account and a token.

    :ivar server: where this user's requests go.
    """

    world: World
    server: Server
    user_id: int
    token: str
    client: httpx.Client = field(repr=False)
    _prefix: str | None = None

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}

    @property
    def prefix(self) -> str:
        """The user's first prefix, made when it is first needed."""
        if self._prefix is None:
            self._prefix = self.new_prefix()
        return self._prefix

    def new_prefix(self) -> str:
        answer = self.client.post("/api/v0/prefix/")
        assert answer.status_code == 201, answer
        return str(answer.json()["prefix"])

    def url(self, path: str) -> str:
        return f"/api/v0/files/{self.prefix}/{path}"

    def upload(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(self.url(path), content=body, headers=_dashed(headers))

    def download(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(self.url(path), headers=_dashed(headers))

    def head(self, path: str, **headers: str) -> httpx.Response:
        return self.client.head(self.url(path), headers=_dashed(headers))

    def delete(self, path: str, **headers: str) -> httpx.Response:
        return self.client.delete(self.url(path), headers=_dashed(headers))

    def quota(self) -> dict[str, int]:
        answer = self.client.get("/api/v0/quota/")
        assert answer.status_code == 200, answer
        return dict(answer.json())

    @property
    def size(self) -> int:
        """What the server says the user stores, in bytes."""
        return self.quota()["size"]

    @property
    def sum_of_objects(self) -> int:
        """What the ledger's objects of the user add up to, in bytes."""
        ((total,),) = self.world.query(
            "SELECT coalesce(sum(o.size), 0) FROM objects o"
            f" JOIN prefixes p ON p.name = o.prefix WHERE p.user_id = {self.user_id}"
        )
        return int(total)

    def wire(self, **options: Any) -> Wire:
        return self.server.wire(**options)


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@define
class World:
    """A running server and everything around it."""

    server: Server
    accounting: AccountingDouble
    setting: Setting

    @property
    def process(self) -> ServerProcess:
        """The server where it has to be a process."""
        assert isinstance(self.server, ServerProcess)
        return self.server

    def user(
        self,
        *,
        quota: int = LARGE,
        traffic: int = LARGE,
        active: bool = True,
        server: Server | None = None,
    ) -> User:
        """Make a new user."""
        return self.login(next(_user_ids), quota, traffic, active, server)

    def login(
        self,
        user_id: int,
        quota: int = LARGE,
        traffic: int = LARGE,
        active: bool = True,
        server: Server | None = None,
    ) -> User:
        """Give a user a new token, with which the server hears of new quotas."""
        token = uuid4().hex
        self.accounting.add_user(
            token,
            user_id,
            active=active,
            block_quota=quota,
            monthly_traffic_quota=traffic,
        )
        return self.user_with(token, user_id, server or self.server)

    def user_with(self, token: str, user_id: int, server: Server) -> User:
        """Return the user who has a token."""
        client = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Token {token}"},
            timeout=60,
            transport=server.transport(),
        )
        return User(self, server, user_id, token, client)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the ledger's database behind the server's back."""
        return query(self.setting.dsn, sql)

    def stored(self, prefix: str) -> list[str]:
        """Return all that storage has for a prefix, unfinished uploads included."""
        return self.setting.stored.blobs(prefix) + self.unfinished_uploads()

    def unfinished_uploads(self) -> list[str]:
        """Return what is left of uploads: temporary files or parts."""
        return self.setting.stored.unfinished()


def problem(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem description in an error's body."""
    assert answer.headers["content-type"] == "application/problem+json"
    return dict(json.loads(answer.content))
