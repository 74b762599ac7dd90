"""Who knows the users."""

from __future__ import annotations

import pytest

from qabel_block.config.config import AccountingServer, BuiltinAccounts, DummyUser
from tests.unit.config.test_options import parsed, refused

TOKEN = "qb_0123456789abcdefghijkl"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([], AccountingServer),
        (["--accounts", "server"], AccountingServer),
        (["--accounts", "builtin"], BuiltinAccounts),
        (["--standalone", "/tmp"], BuiltinAccounts),
        (["--standalone", "/tmp", "--accounts", "builtin"], BuiltinAccounts),
        (["--standalone", "/tmp", "--accounts", "server"], AccountingServer),
        (["--standalone", "/tmp", "--dummy-auth", "T"], DummyUser),
        (["--standalone", "/tmp", "--accounting-host", "http://h"], AccountingServer),
    ],
)
def test_choice(arguments: list[str], kind: type) -> None:
    """By default it is the accounting server, and with --standalone the ledger."""
    assert isinstance(parsed(*arguments).accounts, kind)


@pytest.mark.parametrize(
    "other", [("dummy-auth", "T"), ("accounting-host", "http://h")]
)
@pytest.mark.parametrize("standalone", [[], ["--standalone", "/tmp"]])
def test_exclusion(
    capsys: pytest.CaptureFixture[str], other: tuple[str, str], standalone: list[str]
) -> None:
    """Built-in accounts exclude others that are given beside them."""
    name, value = other
    words = [f"--{name}", value, *standalone]
    line = refused(capsys, "--accounts", "builtin", *words)
    assert f"--{name}" in line
    variable = {name.upper().replace("-", "_"): value}
    refused(capsys, *standalone, ACCOUNTS="builtin", **variable)


def test_first_user(capsys: pytest.CaptureFixture[str]) -> None:
    """The first user needs a name, a token, and built-in accounts."""
    accounts = parsed(
        ACCOUNTS="builtin", FIRST_USER="alice", FIRST_TOKEN=TOKEN
    ).accounts
    assert accounts == BuiltinAccounts("alice", TOKEN)
    assert TOKEN not in repr(accounts)
    refused(capsys, ACCOUNTS="builtin", FIRST_USER="alice")
    refused(capsys, ACCOUNTS="builtin", FIRST_TOKEN=TOKEN)
    refused(capsys, FIRST_USER="alice", FIRST_TOKEN=TOKEN)
    refused(capsys, ACCOUNTS="builtin", FIRST_USER="Alice", FIRST_TOKEN=TOKEN)
    line = refused(capsys, ACCOUNTS="builtin", FIRST_USER="a", FIRST_TOKEN="qb_short")
    assert "qb_short" not in line
