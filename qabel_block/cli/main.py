"""The entry point of ``qabel-block``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from twisted.python.usage import UsageError

from qabel_block.cli.arguments import read_arguments, variables_of
from qabel_block.cli.locations import read_locations
from qabel_block.cli.progress import LineProgress, NoProgress, Progress
from qabel_block.cli.reports import JsonReport, Report, TextReport, reconfigure
from qabel_block.cli.runner import FAILED, Interruption, finish_output, run, say
from qabel_block.cli.streams import open_closed_streams
from qabel_block.util.clock import use_monotonic_clock


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit.

    :param words: the command line, that of this process by default.
    """
    open_closed_streams()
    try:
        status = _run(list(sys.argv[1:] if words is None else words))
    except SystemExit as end:  # after help
        status = int(end.code or 0)
    raise SystemExit(finish_output(status))


def _run(words: list[str]) -> int:
    try:
        arguments, command = read_arguments(words)
        os.environ.update(variables_of(arguments))
        taken = (*command.options, *command.others)
        locations = read_locations(arguments, taken, os.environ)
    except UsageError as error:
        say(" ".join(str(error).split()))
        return FAILED
    # Not for help or a mistake, which need neither.
    from twisted.internet import reactor

    from qabel_block.cli.context import CommandContext

    use_monotonic_clock(reactor)
    interruption = Interruption()
    interruption.install()
    context = CommandContext(
        locations,
        arguments,
        _report(arguments.json),
        _progress(arguments.quiet),
        interruption,
        reactor,
        time.time,
    )
    return run(lambda: command.work(context), reactor, interruption)


def _report(as_json: bool) -> Report:
    if as_json:
        reconfigure(sys.stdout, "utf-8")
        return JsonReport(lambda: sys.stdout)
    reconfigure(sys.stdout)
    return TextReport(lambda: sys.stdout)


def _progress(quiet: bool) -> Progress:
    if quiet:
        return NoProgress()
    if sys.stderr.isatty():
        # Where it is not needed, its library would take more time to import than
        # many a command to run.
        from qabel_block.cli.bar import BarProgress

        return BarProgress(sys.stderr, sys.stdout.isatty())
    return LineProgress(sys.stderr, time.monotonic)
