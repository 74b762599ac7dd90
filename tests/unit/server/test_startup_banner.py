"""What a server says on a terminal."""

from __future__ import annotations

from pathlib import Path

from qabel_block.config.command_line import Options
from qabel_block.config.from_options import configure
from qabel_block.server.startup_banner import startup_banner

URL = "http://localhost:8888"


def _greeting(*words: str) -> str:
    options = Options({})
    options.parseOptions(list(words))
    return startup_banner(configure(options), [URL])


def test_standalone(tmp_path: Path) -> None:
    """A standalone server says its URL, where the data is, how to stop it, a
    command that works, and how to add a user."""
    said = _greeting("--standalone", str(tmp_path))
    for text in (
        f"is at {URL}",
        f"objects in {tmp_path}/objects",
        f"ledger in {tmp_path}/ledger.sqlite",
        "Ctrl-C",
        f"curl -i {URL}/readyz",
        f"qabel-block user add NAME --psql-dsn sqlite:///{tmp_path}/ledger.sqlite",
    ):
        assert text in said


def test_others() -> None:
    """No token or password is said, and what is forgotten at exit is called so."""
    said = _greeting(
        "--psql-dsn", "postgresql://u:pa55word@h/d", "--dummy-auth", "T0k3n"
    )
    assert "objects in bucket qabel, ledger in PostgreSQL" in said
    assert "pa55word" not in said
    assert "T0k3n" not in said
    assert "user add" not in said
    assert "forgotten at exit" in _greeting("--dummy", "--dummy-auth", "T0k3n")
