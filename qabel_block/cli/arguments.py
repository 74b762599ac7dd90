"""Reads the command line of ``qabel-block``."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from twisted.python.usage import UsageError

from qabel_block import __version__
from qabel_block.cli.commands import COMMANDS, GROUPS, Implementation
from qabel_block.cli.locations import TYPED
from qabel_block.config.env_file import read_env_file
from qabel_block.config.option import Option
from qabel_block.config.options import BY_NAME
from qabel_block.config.options import GROUPS as GROUPS_OF_OPTIONS
from qabel_block.names import shown

T = TypeVar("T")

_OF_ALL = frozenset({"-h", "--help", "--version"})
"""What may come before a command."""


class _Parser(ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def read_arguments(words: list[str]) -> tuple[Namespace, Implementation]:
    """Take a command line apart, and import what it is for; ``command`` is its name.

    :raises UsageError: if it is wrong.
    :raises SystemExit: after help or version was printed.
    """
    parser = _Parser(
        prog="qabel-block",
        description="Look after the ledger and the storage of a block server."
        " qabel-block COMMAND --help says what a command does.",
        epilog="Exit status: 0 all is well, 1 there are findings, 2 it could not"
        " be done. Every command can be interrupted and run again.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    parsers = {"": _subcommands(parser)}
    for group, text in GROUPS.items():
        parsers[group] = _subcommands(_add(parsers[""], group, text))
    chosen = next(
        (name for name in COMMANDS if words[: 1 + (" " in name)] == name.split()), None
    )
    # Before argparse takes an option's value, maybe a secret, for the command's name.
    for word in words[: 1 + (words[:1] != [] and words[0] in GROUPS)]:
        if word.startswith("-") and word not in _OF_ALL:
            option, *_ = word.split("=")
            raise UsageError(f"the command comes first, and then {shown(option)}")
    found = None if chosen is None else COMMANDS[chosen].load()
    for command in COMMANDS.values():
        group, _, name = command.name.rpartition(" ")
        its_parser = _add(parsers[group], name, command.help)
        if command.name == chosen and found is not None:
            _add_options(its_parser, command.name, found)
    arguments, unknown = parser.parse_known_args(words)
    assert found is not None  # otherwise the parser has refused it
    if unknown:
        # Only the name is repeated: there may be a secret in the value.
        name, *_ = unknown[0].split("=")
        raise UsageError(
            f"{chosen} has no option {shown(name)}; see qabel-block {chosen} --help"
            if name.startswith("-")
            else f"{chosen} takes only options as further words"
        )
    return arguments, found


def _add(parsers: Any, name: str, text: str) -> _Parser:
    parser: _Parser = parsers.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    return parser


def _add_options(parser: _Parser, name: str, command: Implementation) -> None:
    parser.set_defaults(command=name)
    parser.epilog = (
        "The server's options may also come from the environment, --psql-dsn from"
        f" {BY_NAME['psql-dsn'].variable} and so on, as for the server."
    )
    command.add_arguments(parser)
    parser.add_argument(
        "--json", action="store_true", help="Print JSON, one object a line."
    )
    parser.add_argument(
        "--quiet", action="store_true", help="Show no progress on stderr."
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        type=Path,
        help="Set the environment variables in this file first, which is read as"
        " systemd reads an EnvironmentFile.",
    )
    for heading, options in GROUPS_OF_OPTIONS.items():
        used = [option for option in options if option.name in command.options]
        if used:
            group = parser.add_argument_group(f"{heading}, as the server")
            for option in used:
                _add_server_option(group, option, option.described)
    for name in command.others:
        _add_server_option(parser, BY_NAME[name], None)


def reader(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return what reads a value as an option of the server is read, and says what is
    wrong with it."""

    def try_to_read(value: str) -> T:
        try:
            return read(value)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return try_to_read


def _subcommands(parser: ArgumentParser) -> Any:
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _add_server_option(parser: Any, option: Option, text: str | None) -> None:
    shown = SUPPRESS if text is None else text.replace("%", "%%")
    how: dict[str, Any] = {"dest": TYPED + option.name, "help": shown}
    if not option.takes_value:
        parser.add_argument(option.flag, action="store_const", const="true", **how)
        return
    action = "append" if option.repeatable else "store"
    parser.add_argument(option.flag, metavar=option.shown_metavar, action=action, **how)


def typed_options(arguments: Namespace) -> list[str]:
    """Return those of the server's options that were typed, as they were."""
    words: list[str] = []
    for name, option in BY_NAME.items():
        typed = getattr(arguments, TYPED + name, None)
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
