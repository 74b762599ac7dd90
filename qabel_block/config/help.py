"""The help of ``twist qabel-block``, with the options in groups."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from qabel_block.config.option import Option
from qabel_block.config.options import GROUPS

INTRODUCTION = (
    "Block storage for end-to-end encrypted clients. Every option may also come from"
    " the environment, --psql-dsn from QABEL_BLOCK_PSQL_DSN, or from the file that"
    " QABEL_BLOCK_PSQL_DSN_FILE names, and so on; the command line wins. A flag is"
    " true or false there. SIZE is a number of bytes, or 500K, 10M, 2G, 1T (powers"
    " of 1024)."
)

_COLUMN = 28
"""Where the descriptions begin."""


def formatted_options(width: int) -> str:
    """Return all options, for a terminal of so many columns."""
    return "".join(_lines(max(width, 2 * _COLUMN)))


def _lines(width: int) -> Iterator[str]:
    yield "\n" + textwrap.fill(INTRODUCTION, width) + "\n"
    for heading, options in GROUPS.items():
        yield f"\n{heading}:\n"
        for option in options:
            yield _described(_syntax(option), option.described, width)
    yield "\nOthers:\n"
    yield _described("--version", "Print the version and exit.", width)
    yield _described("--help", "Print this help and exit.", width)


def _syntax(option: Option) -> str:
    metavar = option.shown_metavar
    return option.flag if metavar is None else f"{option.flag} {metavar}"


def _described(syntax: str, text: str, width: int) -> str:
    first = f"  {syntax}".ljust(_COLUMN - 1) + " "
    if len(first) <= _COLUMN:
        initial, before = first, ""
    else:
        initial, before = " " * _COLUMN, f"  {syntax}\n"
    filled = textwrap.fill(
        text.replace("[default: ", "[default:\N{NO-BREAK SPACE}"),
        width,
        initial_indent=initial,
        subsequent_indent=" " * _COLUMN,
        break_on_hyphens=False,
        break_long_words=False,
    ).replace("\N{NO-BREAK SPACE}", " ")
    return f"{before}{filled}\n"
