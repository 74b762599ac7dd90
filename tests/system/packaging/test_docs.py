"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qabel_block.config.options import OPTIONS
from qabel_block.http.problems import STATUS_LINES
from tests.support.checkout import CHECKOUT
from tests.support.documents import (
    COMMANDS,
    DOCUMENTS,
    OTHERS,
    CommandsOf,
    blocks,
    prose,
)
from tests.system.documents.excused import BLOCKS

_LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
_OTHERS = {
    *("--read", "--repair", "--grace", "--json", "--env-file"),  # qabel-block
    *("--quota", "--append-only", "--read-only", "--into", "--force", "--yes"),
    *("--copy-chunker-params", "--keep-within", "--max-repack-size", "--no-lock"),
    *("--delete", "--help", "--read-data", "--no-read", "--failed"),
    *("--asyncio", "--only"),
}
"""Options of commands and of other programs."""


def _by_name(document: Path) -> str:
    return document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=_by_name)
def test_links(document: Path) -> None:
    """Every link to a file leads to one."""
    for target in _LINK.findall(document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=_by_name)
def test_options(document: Path) -> None:
    """Every option of the server that the text names exists; blocks are run."""
    text = re.sub(
        r"^In uWSGI.*?(?=^## )",  # which has options of its own
        "",
        prose(document),
        flags=re.MULTILINE | re.DOTALL,
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    assert named <= {f"--{option.name}" for option in OPTIONS} | _OTHERS


@pytest.mark.parametrize("document", DOCUMENTS, ids=_by_name)
def test_commands(document: Path) -> None:
    """Every block says what it is, and what is to be run is run by a test."""
    name = str(document.relative_to(CHECKOUT))
    languages = {block.language for block in blocks(document)}
    assert languages <= COMMANDS | OTHERS
    assert not re.search(r"\n\n    \S", prose(document)), "not a fenced block"
    if CommandsOf.document(name, BLOCKS).left:
        runner = f"tests/system/documents/test_{document.stem.lower()}.py"
        assert f'CommandsOf.document("{name}"' in (CHECKOUT / runner).read_text()


def test_reasons() -> None:
    """The table of refusals has each reason phrase that there is."""
    table = (CHECKOUT / "docs/protocol.md").read_text()
    told = set(re.findall(r"^\|[ \d]*\| `([^`]+)` \|", table, re.MULTILINE))
    assert told == {reason for _, reason in STATUS_LINES.values()}
