"""The entry point of ``qabel-block``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError

from qabel_block.cli import (
    adopt,
    backup,
    check_config,
    collect,
    migrate,
    rebuild,
    repository,
    status,
    token,
    usage,
    user,
    user_delete,
    verify,
)
from qabel_block.cli.arguments import (
    Syntax,
    read_arguments,
    read_locations,
    variables_of,
)
from qabel_block.cli.context import CommandContext
from qabel_block.cli.progress import LineProgress, NoProgress, Progress
from qabel_block.cli.reports import JsonReport, TextReport
from qabel_block.cli.runner import FAILED, Interruption, run, say
from qabel_block.util.clock import use_monotonic_clock

Work = Callable[[CommandContext], Coroutine[Deferred[Any], Any, int]]


@frozen
class Command:
    """One command."""

    syntax: Syntax
    work: Work


def _command(name: str, module: Any) -> Command:
    syntax = Syntax(name, module.HELP, module.add_arguments, module.OPTIONS)
    return Command(syntax, getattr(module, name.replace("-", "_")))


COMMANDS = {
    name: _command(name, module)
    for name, module in (
        ("migrate", migrate),
        ("adopt", adopt),
        ("verify", verify),
        ("collect", collect),
        ("rebuild", rebuild),
        ("usage", usage),
        ("status", status),
        ("check-config", check_config),
        ("backup", backup),
    )
} | {
    syntax.name: Command(syntax, work)
    for module in (user, user_delete, token, repository)
    for syntax, work in module.COMMANDS
}

GROUPS = {
    "repository": "List or delete restic repositories. Status 1: no such user or"
    " repository.",
    "user": "Add, list, change or delete users of built-in accounts. Status 1: no such"
    " user, or the name is taken.",
    "token": "Add, list or revoke their tokens. Status 1: no such user or token.",
}
"""Helps of the first words of commands that have two (``user add``)."""


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit.

    :param words: the command line, that of this process by default.
    """
    try:
        arguments = read_arguments(
            [command.syntax for command in COMMANDS.values()],
            GROUPS,
            list(sys.argv[1:] if words is None else words),
        )
        command = COMMANDS[arguments.command]
        os.environ.update(variables_of(arguments))
        locations = read_locations(arguments, command.syntax.options, os.environ)
    except UsageError as error:
        say(" ".join(str(error).split()))
        raise SystemExit(FAILED) from None
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    interruption = Interruption()
    interruption.install()
    report = (JsonReport if arguments.json else TextReport)(lambda: sys.stdout)
    context = CommandContext(
        locations,
        arguments,
        report,
        _progress(arguments.quiet),
        interruption,
        reactor,
        time.time,
    )
    raise SystemExit(run(lambda: command.work(context), reactor))


def _progress(quiet: bool) -> Progress:
    if quiet:
        return NoProgress()
    if sys.stderr.isatty():
        # Where it is not needed, its library would take more time to import than
        # many a command to run.
        from qabel_block.cli.bar import BarProgress

        return BarProgress(sys.stderr, sys.stdout.isatty())
    return LineProgress(sys.stderr, time.monotonic)
