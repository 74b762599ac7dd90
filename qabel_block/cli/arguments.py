"""Reads the command line of ``qabel-block``.

What says where ledger and storage are is read as the server reads it: the same
options, the same environment variables, the same mistakes.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from attrs import frozen
from twisted.python.usage import UsageError

from qabel_block import __version__
from qabel_block.config.config import (
    LocalDirectory,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
    TemporaryDirectory,
    TemporaryLedger,
)
from qabel_block.config.contradictions import OPTIONS_OF_S3, check_locations
from qabel_block.config.environment import (
    given_in_environment,
    refuse_unknown_variables,
)
from qabel_block.config.from_options import ledger_of, storage_of
from qabel_block.config.option import Given
from qabel_block.config.options import BY_NAME

PLACES = ("standalone", "psql-dsn", "local-storage", *OPTIONS_OF_S3, "transfers")
"""The server's options that the tools have too."""

_TYPED = "server_"


@frozen
class Places:
    """Where ledger and storage are.

    :ivar transfers: storage operations that run in threads at a time.
    """

    ledger: PostgresLedger | SqliteLedger
    storage: LocalDirectory | S3Bucket
    transfers: int


@frozen
class Syntax:
    """How one command is called.

    :ivar add_arguments: adds those that only this command has.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]


class _Parser(ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read_arguments(syntaxes: Iterable[Syntax], words: list[str]) -> Namespace:
    """Take a command line apart; ``command`` is the command's name.

    :raises UsageError: if it is wrong.
    :raises SystemExit: after help or version was printed.
    """
    parser = _Parser(
        prog="qabel-block",
        description="Looks after the ledger and the storage of a block server.",
        epilog="Exit status: 0 all is well, 1 there are findings, 2 it could not"
        " be done. Every command can be interrupted and run again.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for syntax in syntaxes:
        command = commands.add_parser(
            syntax.name,
            help=syntax.help,
            description=syntax.help,
            epilog="Options may also come from the environment, --psql-dsn from"
            f" {BY_NAME['psql-dsn'].variable} and so on, as for the server.",
            allow_abbrev=False,
        )
        syntax.add_arguments(command)
        command.add_argument(
            "--json", action="store_true", help="Print JSON, one object a line."
        )
        command.add_argument(
            "--quiet", action="store_true", help="Show no progress on stderr."
        )
        _add_places(command)
    return parser.parse_args(words)


def read_places(arguments: Namespace, environment: Mapping[str, str]) -> Places:
    """Return where ledger and storage are.

    :raises UsageError: if an option's value is wrong.
    """
    values: dict[str, Any] = {"dummy": False}
    given: dict[str, str] = {}
    refuse_unknown_variables(environment)
    for name in PLACES:
        option = BY_NAME[name]
        typed = getattr(arguments, _TYPED + name)
        found = given_in_environment(option, environment)
        if typed is not None:
            found = Given(option.flag, [typed])
        if found is None:
            values[name] = option.value_by_default()
        else:
            given[name] = found.source
            values[name] = option.value_of(found)
    check_locations(values, given)
    storage, ledger = storage_of(values), ledger_of(values, given)
    assert not isinstance(storage, TemporaryDirectory)
    assert not isinstance(ledger, TemporaryLedger)
    return Places(ledger, storage, values["transfers"])


def at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are not smaller."""

    def read(value: str) -> int:
        number = int(value)
        if number < least:
            raise ValueError
        return number

    read.__name__ = f"number (at least {least})"
    return read


def _add_places(command: ArgumentParser) -> None:
    group = command.add_argument_group("where ledger and storage are")
    for name in PLACES:
        option = BY_NAME[name]
        group.add_argument(
            option.flag,
            dest=_TYPED + name,
            metavar=option.shown_metavar,
            help=option.described.replace("%", "%%"),
        )
