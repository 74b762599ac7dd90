"""A progress bar on a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Shows how many a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class BarProgress:
    """A bar on a terminal, with rate and remaining time.

    :param stream: the terminal.
    :param shared: whether standard output is the terminal, too, so that it has to
        be written above the bar.
    """

    shows_remaining = True

    def __init__(self, stream: TextIO, shared: bool) -> None:
        self._console = Console(file=stream)
        self._shared = shared
        self._bar: Progress | None = None

    def begin(self, what: str, unit: str, total: int | None = None) -> None:
        """See :meth:`~qabel_block.cli.progress.Progress.begin`."""
        self.end()
        of = (
            "{task.completed:,.0f} of {task.total:,.0f} "
            if total
            else "{task.completed:,.0f} "
        )
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(of + unit),
            _Rate(),
            TimeRemainingColumn(),
            console=self._console,
            redirect_stdout=self._shared,
            redirect_stderr=True,
        )
        self._bar.add_task(what, total=total)
        self._bar.start()

    def advance(self, count: int) -> None:
        """See :meth:`~qabel_block.cli.progress.Progress.advance`."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)

    def end(self) -> None:
        """See :meth:`~qabel_block.cli.progress.Progress.end`."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()
