"""``qabel-block user`` and ``qabel-block token``, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from qabel_block.cli.token import read_expiry
from qabel_block.model import UNLIMITED
from qabel_block.names import is_token
from tests.integration.cli.conftest import Installation
from tests.integration.ledger.support import change
from tests.support.database import query
from tests.support.tools import Ended, run_tool

NOW = 1_800_000_000.0


def _only(ended: Ended) -> dict[str, object]:
    assert ended.status == 0, ended.err
    (entry,) = ended.said
    return entry


def test_users(local: Installation) -> None:
    """Users are made with quotas, listed by name, changed and renamed."""
    run = local.run
    token = str(_only(run("user", "add", "bob"))["token"])
    assert is_token(token)
    _only(run("user", "add", "alice", "--quota", "5M", "--traffic", "unlimited"))
    listed = run("user", "list").of_kind("user")
    assert [(u["name"], u["quota"], u["traffic"]) for u in listed] == [
        ("alice", 5 * 2**20, UNLIMITED),
        ("bob", 10 * 2**30, 100 * 2**30),
    ]
    assert len({u["id"] for u in listed}) == 2
    _only(run("user", "set", "bob", "--quota", "1", "--name", "carol"))
    _only(run("user", "disable", "carol"))
    shown = _only(run("user", "show", "carol"))
    assert (shown["quota"], shown["state"]) == (1, "disabled")
    _only(run("user", "enable", "carol"))
    assert _only(run("user", "show", "carol"))["state"] == "active"


def test_tokens(local: Installation) -> None:
    """Tokens are listed with all but themselves, and the revoked ones stay."""
    run = local.run
    first = str(_only(run("user", "add", "bob"))["token"])
    words = ("--append-only", "--label", "laptop", "--expires", "1d")
    second = str(_only(run("token", "add", "bob", *words))["token"])
    _only(run("token", "revoke", "bob", "1"))
    change(local.dsn, "UPDATE tokens SET expires = 1 WHERE expires IS NOT NULL")
    ended = run("token", "list", "bob")
    assert [(t["id"], t["state"], t["permission"], t["label"]) for t in ended.said] == [
        (1, "revoked", "full", "first"),
        (2, "expired", "append-only", "laptop"),
    ]
    everything = ended.out + str(query(local.dsn, "SELECT * FROM tokens"))
    assert first not in everything
    assert second not in everything


def test_mistakes(local: Installation) -> None:
    """Who is not there, or is there already, is one line and status 1; what is wrongly
    typed is one line and status 2."""
    run = local.run
    _only(run("user", "add", "bob"))
    _only(run("user", "add", "alice"))
    refused = (
        ("user", "add", "bob"),
        ("user", "set", "bob", "--name", "alice"),
        ("user", "show", "carol"),
        ("user", "set", "carol", "--quota", "1"),
        ("user", "disable", "carol"),
        ("user", "delete", "carol", "--yes"),
        ("token", "add", "carol"),
        ("token", "list", "carol"),
        ("token", "revoke", "bob", "7"),
    )
    wrong = (
        ("user", "add", "Bob"),
        ("user", "add", "dave", "--quota", "5X"),
        ("token", "add", "bob", "--append-only", "--read-only"),
        ("token", "add", "bob", "--expires", "tomorrow"),
        ("user",),
    )
    for status, commands in ((1, refused), (2, wrong)):
        for words in commands:
            ended = run(*words)
            assert (ended.status, ended.out) == (status, ""), words
            assert len(ended.err.splitlines()) == 1, ended.err


def test_token_alone(tmp_path: Path) -> None:
    """On standard output there is the token and nothing else, for a shell to take; a
    standalone installation need not have been started before."""
    ended = run_tool("user", "add", "bob", "--standalone", str(tmp_path / "data"))
    assert ended.status == 0
    assert is_token(ended.out.rstrip("\n"))
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize("command", [("user", "add", "bob"), ("migrate",)])
def test_private_ledger(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A ledger that is made is its owner's alone; one that is there stays as it is."""
    path = tmp_path / "ledger.sqlite"
    place = ("--psql-dsn", f"sqlite:///{path}")
    assert run_tool(*command, *place).status == 0
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    assert run_tool("migrate", *place).status == 0
    assert path.stat().st_mode & 0o777 == 0o640


def test_unconfirmed(local: Installation) -> None:
    """Without a yes nobody is deleted."""
    _only(local.run("user", "add", "bob"))
    ended = local.run("user", "delete", "bob")
    assert ended.status == 2
    assert "nothing is deleted" in ended.err
    assert _only(local.run("user", "show", "bob"))["state"] == "active"


def test_expiry() -> None:
    """A token expires on a day, at its beginning, or so many days from now."""
    assert read_expiry("2d")(NOW) == NOW + 2 * 86_400
    assert read_expiry("2027-01-16")(NOW) == 1_800_057_600
    for text in ("", "d", "2", "2027-13-01", "-1d", "1 d", "2027-01-16T00:00"):
        with pytest.raises(ValueError, match="neither"):
            read_expiry(text)
