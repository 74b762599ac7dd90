"""A server on an installation that tools work on, and a user of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.integration.cli.conftest import Installation
from tests.support.accounting import AccountingDouble
from tests.support.faketime import WallClock
from tests.support.server import ServerProcess

LARGE = 2**40


@contextmanager
def serving(
    installation: Installation, *users: int, clock: WallClock | None = None
) -> Iterator[list[httpx.Client]]:
    """Run a server; give a client for each of the users.

    :param clock: of the server, if not the machine's.
    """
    with AccountingDouble() as accounting:
        for user_id in users:
            accounting.add_user(f"token-{user_id}", user_id)
        server = ServerProcess(
            *installation.places,
            *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
            "--dummy-cache",
            environment={
                **installation.storage.environment,
                **(clock.environment if clock else {}),
            },
        )
        with server:
            yield [
                httpx.Client(
                    base_url=server.url,
                    headers={"Authorization": f"Token token-{user_id}"},
                    timeout=60,
                )
                for user_id in users
            ]


def url(prefix: str, path: str) -> str:
    return f"/api/v0/files/{prefix}/{path}"


def size(client: httpx.Client) -> int:
    """Return what the server says the client's user stores."""
    return int(client.get("/api/v0/quota/").json()["size"])
