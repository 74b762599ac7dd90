"""Reports the progress of a long command on standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TextIO

from attrs import define

from qabel_block.cli.streams import write_unless_full

LINE_SECONDS = 10.0
"""From one line to the next, where there is no terminal."""


class Progress(Protocol):
    """Told of the steps of one task after the other.

    :ivar shows_remaining: whether it is worth finding out beforehand how much
        there is to do.
    """

    shows_remaining: bool

    def begin(self, what: str, unit: str, total: int | None = None) -> None:
        """Begin a task.

        :param unit: what is counted, in the plural.
        :param total: how many of them there are, about, if that is known.
        """

    def advance(self, count: int) -> None:
        """So many more are done."""

    def end(self) -> None:
        """The task is done, or given up. May be repeated."""


class NoProgress:
    """Shows nothing."""

    shows_remaining = False

    def begin(self, what: str, unit: str, total: int | None = None) -> None:
        """See :meth:`Progress.begin`."""

    def advance(self, count: int) -> None:
        """See :meth:`Progress.advance`."""

    def end(self) -> None:
        """See :meth:`Progress.end`."""


@define
class _Counted:
    what: str
    unit: str
    total: int | None
    began: float
    done: int = 0
    said: float = 0.0


class LineProgress:
    """A line from time to time, and one at the end.

    :param now: seconds, from whenever.
    """

    shows_remaining = False

    def __init__(self, stream: TextIO, now: Callable[[], float]) -> None:
        self._stream = stream
        self._now = now
        self._task: _Counted | None = None

    def begin(self, what: str, unit: str, total: int | None = None) -> None:
        """See :meth:`Progress.begin`."""
        self.end()
        began = self._now()
        self._task = _Counted(what, unit, total, began, said=began)

    def advance(self, count: int) -> None:
        """See :meth:`Progress.advance`."""
        task = self._task
        if task is None:
            return
        task.done += count
        now = self._now()
        if now - task.said < LINE_SECONDS:
            return
        task.said = now
        rate = task.done / (now - task.began)
        of = f" of {task.total:,}" if task.total else ""
        left = (task.total or 0) - task.done
        remaining = f", {left / rate:,.0f} s left" if left > 0 and rate else ""
        self._write(
            f"{task.what}: {task.done:,}{of} {task.unit}, {rate:,.0f}/s{remaining}"
        )

    def end(self) -> None:
        """See :meth:`Progress.end`."""
        task, self._task = self._task, None
        if task is not None:
            seconds = self._now() - task.began
            rate = task.done / max(seconds, 0.001)
            self._write(
                f"{task.what}: {task.done:,} {task.unit} in {seconds:,.1f} s,"
                f" {rate:,.0f}/s"
            )

    def _write(self, line: str) -> None:
        write_unless_full(self._stream, f"{line}\n")
