"""Reads a file of environment variables as systemd reads an ``EnvironmentFile=``.

The format is in systemd.exec(5): ``NAME=VALUE`` lines. A value may be quoted, as
parts of it, then with line breaks in it; a backslash at the end of a line continues
it. Lines that begin with ``#`` or ``;``, lines without ``=`` and those whose name no
variable can have are left out. Nothing is expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.python.usage import UsageError

from qabel_block.names import shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"[ \t\r]*+([^\n][^=\n]*)=")
_COMMENT = re.compile(r"[ \t\r]*[#;]")
_LINE = re.compile(r"[^\n]*\n?")
_BLANKS = " \t\r"
_ESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables that a file sets.

    :raises UsageError: if it can't be read; with nothing in it that is in the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't read {shown(str(path))}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{shown(str(path))} is not UTF-8") from None
    return dict(_variables(text.replace("\r\n", "\n")))


def _variables(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        assignment = _ASSIGNMENT.match(text, at)
        if _COMMENT.match(text, at) or assignment is None:
            line = _LINE.match(text, at)
            assert line is not None  # it matches the empty string
            at = line.end()
            continue
        value, at = _value(text, assignment.end())
        name = assignment[1].strip()
        if _NAME.fullmatch(name):
            yield name, value


def _value(text: str, at: int) -> tuple[str, int]:
    """Return a value that begins at ``at``, and where the next line begins."""
    parts: list[str] = []
    blanks = ""
    quotable = True  # a quote later in a word is an ordinary character
    while at < len(text) and text[at] != "\n":
        character = text[at]
        if quotable and character in "'\"":
            part, at = _quoted(text, at)
            parts.append(part)
            blanks = ""
            continue
        at += 1
        if character in _BLANKS:
            # Kept within a value, dropped around it and around quotes.
            blanks = "" if quotable else blanks + character
            continue
        if character == "\\":
            character, at = text[at : at + 1].replace("\n", ""), at + 1
        quotable = False
        parts.append(blanks + character)
        blanks = ""
    return "".join(parts), at + 1


def _quoted(text: str, at: int) -> tuple[str, int]:
    """Return what is between quotes, and where they end."""
    quote, at = text[at], at + 1
    parts: list[str] = []
    while at < len(text) and text[at] != quote:
        part = text[at]
        if quote == '"' and part == "\\":
            at += 1
            escaped = text[at : at + 1]
            if escaped in ("\n", ""):
                part = ""
            elif escaped in _ESCAPED_IN_DOUBLE_QUOTES:
                part = escaped
            else:
                part += escaped
        parts.append(part)
        at += 1
    return "".join(parts), at + 1
