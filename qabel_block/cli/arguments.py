"""Reads the command line of ``qabel-block``.

What says where ledger and storage are is read as the server reads it: the same
options, the same environment variables, the same mistakes.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

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
from qabel_block.config.env_file import read_env_file
from qabel_block.config.environment import (
    given_in_environment,
    refuse_unknown_variables,
)
from qabel_block.config.from_options import ledger_of, storage_of
from qabel_block.config.option import Given
from qabel_block.config.options import BY_NAME

LEDGER_OPTIONS = ("standalone", "psql-dsn")
"""The server's options of commands that use the ledger alone."""

STORAGE_OPTIONS = ("local-storage", *OPTIONS_OF_S3, "transfers", "garbage-grace")
"""The server's options of commands that use the storage."""

_LOCATIONS = (*LEDGER_OPTIONS, *STORAGE_OPTIONS)
T = TypeVar("T")

_TYPED = "server_"


@frozen
class DataLocations:
    """Where ledger and storage are.

    :ivar transfers: storage operations that run in threads at a time.
    :ivar garbage_grace: seconds for which the server keeps garbage.
    """

    ledger: PostgresLedger | SqliteLedger
    storage: LocalDirectory | S3Bucket
    transfers: int
    garbage_grace: int


@frozen
class Syntax:
    """How one command is called.

    :ivar name: one word, or two for a command of a group (``user add``).
    :ivar add_arguments: adds those that only this command has.
    :ivar options: names of the server's options that it has.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    options: tuple[str, ...]


class _Parser(ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read_arguments(
    syntaxes: Iterable[Syntax], groups: Mapping[str, str], words: list[str]
) -> Namespace:
    """Take a command line apart; ``command`` is the command's name.

    :param groups: helps of groups of commands, by their first words.
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
    commands = {"": _subcommands(parser)}
    for group, text in groups.items():
        command = commands[""].add_parser(
            group, help=text, description=text, allow_abbrev=False
        )
        commands[group] = _subcommands(command)
    for syntax in syntaxes:
        group, _, name = syntax.name.rpartition(" ")
        command = commands[group].add_parser(
            name,
            help=syntax.help,
            description=syntax.help,
            epilog="The server's options may also come from the environment, --psql-dsn"
            f" from {BY_NAME['psql-dsn'].variable} and so on, as for the server.",
            allow_abbrev=False,
        )
        command.set_defaults(command=syntax.name)
        syntax.add_arguments(command)
        command.add_argument(
            "--json", action="store_true", help="Print JSON, one object a line."
        )
        command.add_argument(
            "--quiet", action="store_true", help="Show no progress on stderr."
        )
        _add_server_options(command, syntax.options)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        # Only the name is repeated: there may be a secret in the value.
        name, *_ = unknown[0].split("=")
        raise UsageError(
            f"{arguments.command} has no option {name!r}"
            if name.startswith("-")
            else f"{arguments.command} takes only options as further words"
        )
    return arguments


def read_locations(
    arguments: Namespace, options: tuple[str, ...], environment: Mapping[str, str]
) -> DataLocations:
    """Return where ledger and storage are.

    :param options: names of the server's options that the command has.
    :raises UsageError: if an option's value is wrong.
    """
    values: dict[str, Any] = {
        name: BY_NAME[name].value_by_default() for name in _LOCATIONS
    }
    values["dummy"] = False
    given: dict[str, str] = {}
    refuse_unknown_variables(environment)
    for name in _LOCATIONS:
        if name not in options:
            continue
        option = BY_NAME[name]
        typed = getattr(arguments, _TYPED + name)
        if typed is not None:
            found: Given | None = Given(option.flag, [typed])
        else:
            found = given_in_environment(option, environment)
        if found is not None:
            given[name] = found.source
            values[name] = option.value_of(found)
    check_locations(values, given)
    storage, ledger = storage_of(values), ledger_of(values, given)
    assert not isinstance(storage, TemporaryDirectory)
    assert not isinstance(ledger, TemporaryLedger)
    return DataLocations(ledger, storage, values["transfers"], values["garbage-grace"])


def reader(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return what reads a value as an option of the server is read, and says what is
    wrong with it."""

    def try_to_read(value: str) -> T:
        try:
            return read(value)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return try_to_read


def at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are not smaller."""

    def read(value: str) -> int:
        number = int(value)
        if number < least:
            raise ValueError
        return number

    read.__name__ = f"number (at least {least})"
    return read


def _subcommands(parser: ArgumentParser) -> Any:
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _add_server_options(command: ArgumentParser, names: tuple[str, ...]) -> None:
    group = command.add_argument_group("options as of the server")
    for name in names:
        option = BY_NAME[name]
        text = option.described.replace("%", "%%")
        if not option.takes_value:
            group.add_argument(
                option.flag,
                dest=_TYPED + name,
                action="store_const",
                const="true",
                help=text,
            )
            continue
        group.add_argument(
            option.flag,
            dest=_TYPED + name,
            metavar=option.shown_metavar,
            action="append" if option.repeatable else "store",
            help=text,
        )
    group.add_argument(
        "--env-file",
        metavar="FILE",
        type=Path,
        help="Set the environment variables in this file first, which is read as"
        " systemd reads an EnvironmentFile.",
    )


def typed_options(arguments: Namespace) -> list[str]:
    """Return those of the server's options that were typed, as they were."""
    words: list[str] = []
    for name, option in BY_NAME.items():
        typed = getattr(arguments, _TYPED + name, None)
        if typed is None:
            continue
        for text in typed if option.repeatable else [typed]:
            words += [f"{option.flag}={text}"] if option.takes_value else [option.flag]
    return words


def variables_of(arguments: Namespace) -> dict[str, str]:
    """Return the environment variables that a command is told to set.

    :raises UsageError: if their file can't be read.
    """
    if arguments.env_file is None:
        return {}
    try:
        return read_env_file(arguments.env_file)
    except UsageError as error:
        raise UsageError(f"--env-file: {error}") from None
