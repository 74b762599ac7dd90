"""What a command has to say: lines and tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TextIO

from attrs import frozen


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
        self._stream().write(f"{text}\n")

    def table(
        self,
        kind: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Sequence[object]],
    ) -> None:
        """See :meth:`Report.table`."""
        from rich.console import Console  # only for the few that print tables
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column.title, justify="right")
        for row in rows:
            shown = [c.show(cell) for c, cell in zip(columns, row, strict=True)]
            table.add_row(*shown)
        Console(file=self._stream()).print(table)


class JsonReport:
    """For scripts: one JSON object a line, its ``kind`` first."""

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream

    def say(self, kind: str, text: str, **facts: object) -> None:
        """See :meth:`Report.say`."""
        self._stream().write(json.dumps({"kind": kind, **facts}) + "\n")

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


def in_bytes(count: int) -> str:
    """Return a number of bytes as people read it, e.g. ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
