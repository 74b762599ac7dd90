"""The blocks of code in the documents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from attrs import define, frozen

from tests.support.checkout import CHECKOUT

DOCUMENTS = sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")])

COMMANDS = frozenset({"sh", "console", "python"})
"""Languages of blocks that readers are to run."""

OTHERS = frozenset({"http", "ini", "js", "json", "nginx", "sql", "text"})
"""Languages of blocks that are to be read."""

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    """A fenced block.

    :ivar language: what stands behind the fence.
    """

    language: str
    text: str

    @property
    def is_command(self) -> bool:
        return self.language in COMMANDS


def blocks(document: Path) -> list[Block]:
    """Return the blocks of a document, in order."""
    return [Block(*found) for found in _FENCED.findall(document.read_text())]


def prose(document: Path) -> str:
    """Return what is in none of its blocks."""
    return _FENCED.sub("", document.read_text())


@define
class CommandsOf:
    """The blocks of a document that are to be run, each to be taken once.

    :ivar left: those that nobody has taken.
    """

    left: list[str]

    @classmethod
    def document(cls, name: str, excused: Iterable[tuple[str, str]] = ()) -> CommandsOf:
        """Return the commands of a document.

        :param excused: documents and beginnings of blocks that are left out.
        """
        found = [block.text for block in blocks(CHECKOUT / name) if block.is_command]
        commands = cls(found)
        for document, beginning in excused:
            if document == name:
                commands.take(beginning)
        return commands

    def take(self, beginning: str) -> str:
        """Return the one block that begins so, and count it as taken."""
        (text,) = (text for text in self.left if text.startswith(beginning))
        self.left.remove(text)
        return text
