"""Everything that may be asked of a server, in a form that fits into a table."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from attrs import field, frozen
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.ledger.support import change
from tests.support.world import User, World

LIMIT = 15.0
"""Seconds that a request may wait for a dependency. Clients here wait no longer."""

SMALL = b"small" * 100
LARGE = b"large" * 1_200_000
"""More than one part of a multipart upload."""

_new_owners = itertools.count(1_000_000)


@frozen
class Cast:
    """Who asks.

    :ivar known: somebody of whom the server knows who that is.
    :ivar stranger: somebody whose token it has not seen yet.
    :ivar owner: somebody of whom it has not heard yet, but who owns a prefix
        with an object in it.
    :ivar listener: somebody known, for whose prefix there is no socket yet.
    :ivar missing: what ``/readyz`` has said to be missing.
    """

    known: User
    stranger: User
    owner: User
    listener: User
    missing: set[str] = field(factory=set)

    def clients_are_patient(self, seconds: float) -> None:
        for user in (self.known, self.stranger, self.owner, self.listener):
            user.client.timeout = httpx.Timeout(seconds)


def cast(world: World) -> Cast:
    """Return users with all the objects that are asked for."""
    known, stranger, owner, listener = (world.user() for _ in range(4))
    for path in ("small", "other", "to-delete"):
        assert known.upload(path, SMALL).status_code == 204
    assert known.upload("large", LARGE).status_code == 204
    assert listener.prefix
    assert owner.upload("small", SMALL).status_code == 204
    prefix = stranger.prefix
    stranger = world.login(stranger.user_id)
    stranger._prefix = prefix
    new_owner, dsn = next(_new_owners), world.setting.dsn
    change(
        dsn, f"UPDATE users SET user_id = {new_owner} WHERE user_id = {owner.user_id}"
    )
    change(
        dsn,
        f"UPDATE prefixes SET user_id = {new_owner} WHERE user_id = {owner.user_id}",
    )
    world.login(new_owner)
    return Cast(known, stranger, owner, listener)


def _answered(answer: httpx.Response) -> int:
    if answer.status_code == 503:
        assert int(answer.headers["retry-after"]) > 0
    return answer.status_code


def _download(user: User, path: str, content: bytes) -> int:
    answer = user.download(path)
    assert answer.status_code != 200 or answer.content == content
    return _answered(answer)


def _listen(user: User, path: str = "") -> int:
    url = f"{user.server.url.replace('http', 'ws', 1)}/api/v0/websocket/{user.prefix}"
    headers = {} if path else user.authorization
    try:
        with connect(url + path, additional_headers=headers, open_timeout=LIMIT):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def _readyz(cast: Cast) -> int:
    answer = cast.known.client.get("/readyz")
    cast.missing.clear()
    cast.missing.update(answer.json().keys() - {"ready", "degraded"})
    cast.missing.update(answer.json().get("degraded", ()))
    return answer.status_code


REQUESTS: dict[str, Callable[[Cast], int]] = {
    "upload": lambda cast: _answered(cast.known.upload("new", SMALL)),
    "large upload": lambda cast: _answered(cast.known.upload("new-large", LARGE)),
    "overwrite": lambda cast: _answered(cast.known.upload("other", SMALL * 2)),
    "download": lambda cast: _download(cast.known, "small", SMALL),
    "large download": lambda cast: _download(cast.known, "large", LARGE),
    "head": lambda cast: _answered(cast.known.head("small")),
    "delete": lambda cast: _answered(cast.known.delete("to-delete")),
    "quota": lambda cast: _answered(cast.known.client.get("/api/v0/quota/")),
    "prefixes": lambda cast: _answered(cast.known.client.get("/api/v0/prefix/")),
    "new prefix": lambda cast: _answered(cast.known.client.post("/api/v0/prefix/")),
    "upload by a stranger": lambda cast: _answered(cast.stranger.upload("new", SMALL)),
    "delete by a stranger": lambda cast: _answered(cast.stranger.delete("none")),
    "download from a stranger": lambda cast: _download(cast.owner, "small", SMALL),
    "listen to a prefix": lambda cast: _listen(cast.listener),
    "listen to an object": lambda cast: _listen(cast.listener, "/small"),
    "readyz": _readyz,
    "healthz": lambda cast: _answered(cast.known.client.get("/healthz")),
}


def ask_everything(cast: Cast) -> dict[str, int]:
    """Ask all at the same time; return the statuses of the answers.

    :raises Exception: if an answer does not come in time, or not whole.
    """
    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        asked = {name: pool.submit(ask, cast) for name, ask in REQUESTS.items()}
        return {name: answer.result() for name, answer in asked.items()}
