"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qabel_block.cli.main import COMMANDS
from qabel_block.config.options import OPTIONS
from qabel_block.http.problems import STATUS_LINES
from tests.support.server import CHECKOUT

DOCUMENTS = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
_OTHERS = {
    *("--cacert", "--data-binary"),  # curl
    *("--upgrade", "--now", "--exclude", "--delete", "--no-owner", "--help"),
    *("--read", "--repair", "--grace", "--top", "--json", "--quiet"),  # qabel-block
    *("--env-file", "--to", "--quota", "--traffic"),
    *("--append-only", "--label", "--expires"),
    *("--into", "--force"),
}
"""Options of other programs."""


def _by_name(document: Path) -> str:
    return document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=_by_name)
def test_links(document: Path) -> None:
    """Every link to a file leads to one."""
    for target in _LINK.findall(document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "docs/operating.md"])
def test_options(name: str) -> None:
    """Every option of the server that is named exists, and every command."""
    text = re.sub(
        r"^In uWSGI.*?(?=^## )",  # which has options of its own
        "",
        (CHECKOUT / name).read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    assert named <= {f"--{option.name}" for option in OPTIONS} | _OTHERS
    commands = set(re.findall(r"^ +(?:\S+/)?qabel-block ([a-z-]+)", text, re.MULTILINE))
    assert commands
    assert commands <= {name.split()[0] for name in COMMANDS}


def test_reasons() -> None:
    """The table of refusals has each reason phrase that there is."""
    table = (CHECKOUT / "docs/protocol.md").read_text()
    told = set(re.findall(r"^\|[ \d]*\| `([^`]+)` \|", table, re.MULTILINE))
    assert told == {reason for _, reason in STATUS_LINES.values()}
