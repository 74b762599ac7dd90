"""Prints the results of commands: text and tables, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from io import TextIOWrapper
from typing import Any, Protocol, TextIO

from attrs import frozen

from qabel_block.cli.streams import writing

DRAWN_ROWS = 500
"""Rows of the longest table that is drawn with lines, on a terminal: drawing takes
long. Others are aligned."""


@frozen
class Column:
    """A column of a table.

    :ivar name: the key in JSON.
    :ivar show: turns its values into text for people.
    """

    name: str
    title: str
    show: Callable[[Any], str] = str


class Report(Protocol):
    """Takes what a command has to say, on standard output."""

    def say(self, kind: str, text: str, **facts: object) -> None:
        """Say one thing: ``text`` for people; ``kind`` and ``facts`` for scripts."""

    def table(
        self,
        kind: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Sequence[object]],
    ) -> None:
        """Say several things of one kind."""


class TextReport:
    """For people.

    :param stream: asked for each time, since a progress bar replaces it.
    """

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream

    def say(self, kind: str, text: str, **facts: object) -> None:
        """See :meth:`Report.say`."""
        with writing():
            self._stream().write(f"{text}\n")

    def table(
        self,
        kind: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Sequence[object]],
    ) -> None:
        """See :meth:`Report.table`."""
        shown = [
            [column.show(cell) for column, cell in zip(columns, row, strict=True)]
            for row in rows
        ]
        titles = [column.title for column in columns]
        stream = self._stream()
        drawn = stream.isatty() and len(shown) <= DRAWN_ROWS
        with writing():
            (_draw if drawn else _align)(stream, title, titles, shown)


def _draw(stream: TextIO, title: str, titles: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console  # only for the few that draw tables
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in titles:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=stream).print(table)


def _align(
    stream: TextIO, title: str, titles: list[str], rows: list[list[str]]
) -> None:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    stream.write(f"{title}\n")
    for row in (titles, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        stream.write(f"{'  '.join(cells)}\n")


class JsonReport:
    """For scripts: one JSON object a line, its ``kind`` first."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream

    def say(self, kind: str, text: str, **facts: object) -> None:
        """See :meth:`Report.say`."""
        line = json.dumps({"kind": kind, **facts}, ensure_ascii=False)
        with writing():
            self._stream().write(f"{line}\n")

    def table(
        self,
        kind: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Sequence[object]],
    ) -> None:
        """See :meth:`Report.table`."""
        for row in rows:
            cells = {c.name: cell for c, cell in zip(columns, row, strict=True)}
            self.say(kind, "", **cells)


def reconfigure(stream: TextIO, encoding: str | None = None) -> None:
    """Let a stream escape what it can't encode; JSON reads those escapes as its own.

    :param encoding: another one than that of the operator's locale.
    """
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding=encoding, errors="backslashreplace")


def in_bytes(count: int) -> str:
    """Return a number of bytes as people read it, e.g. ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
