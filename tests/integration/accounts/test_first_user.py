"""A first user who is made at the start of a server (PROTOCOL section 10)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from qabel_block.accounts.tokens import new_token
from qabel_block.ledger.migrate import upgrade
from tests.support.server import ServerProcess
from tests.support.tools import run_tool


@frozen
class FreshLedger:
    """Where a ledger and objects are.

    :ivar places: the options, of the server and of the commands.
    :ivar others: more options of the server.
    """

    places: tuple[str, ...]
    others: tuple[str, ...] = ()

    def server(self, name: str, **token: str) -> ServerProcess:
        """Return a server that is told of a first user."""
        variables = {"FIRST_USER": name, **token}
        return ServerProcess(
            *self.places,
            *self.others,
            environment={
                f"QABEL_BLOCK_{key}": value for key, value in variables.items()
            },
        )

    def users(self) -> list[dict[str, object]]:
        """Return all users, and the first one's tokens, as the commands show them."""
        listed = run_tool("user", "list", *self.places, "--quiet", "--json")
        assert listed.status == 0, listed.err
        tokens = run_tool("token", "list", *self.places, "--quiet", "--json", "alice")
        assert tokens.status == 0, tokens.err
        lines = (listed.out + tokens.out).splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> FreshLedger:
    """A file, or a PostgreSQL that two workers share."""
    if request.param == "sqlite":
        return FreshLedger(("--standalone", str(tmp_path / "data")))
    new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    host, port = request.getfixturevalue("redis_address")
    dsn = new()
    upgrade(dsn)
    (tmp_path / "objects").mkdir()
    return FreshLedger(
        ("--psql-dsn", dsn, "--local-storage", str(tmp_path / "objects")),
        (
            *("--redis-host", host, "--redis-port", str(port)),
            *("--accounts", "builtin", "--processes", "2", "--log-to-stderr"),
        ),
    )


def _quota(server: ServerProcess, token: str) -> httpx.Response:
    return httpx.get(
        f"{server.url}/api/v0/quota/",
        headers={"Authorization": f"Token {token}"},
        timeout=60,
    )


def test_first_user(place: FreshLedger, tmp_path: Path) -> None:
    """Who is named at the first start is served as soon as the server is; whoever is
    named at a later one is not made, and the user's token stays what it is."""
    first, second = new_token(), new_token()
    file = tmp_path / "token"
    file.write_text(f"{first}\n")
    with place.server("alice", FIRST_TOKEN_FILE=str(file)) as server:
        assert _quota(server, first).json() == {"quota": 10 * 2**30, "size": 0}
        assert first not in server.log()
        users = place.users()
    with place.server("bob", FIRST_TOKEN=second) as server:
        assert _quota(server, first).status_code == 200
        assert _quota(server, second).reason_phrase == "User not found"
        assert place.users() == users


def test_token_in_a_variable(tmp_path: Path) -> None:
    """The token may be given in the environment itself."""
    token = new_token()
    place = FreshLedger(("--standalone", str(tmp_path / "data")))
    with place.server("alice", FIRST_TOKEN=token) as server:
        assert _quota(server, token).status_code == 200
        assert token not in server.log()
