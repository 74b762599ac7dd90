"""Reads the command line of ``twist qabel-block``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.python import usage

from qabel_block import __version__
from qabel_block.config.contradictions import check_combinations
from qabel_block.config.environment import (
    given_in_environment,
    refuse_unknown_variables,
    suggestion,
)
from qabel_block.config.help import formatted_options
from qabel_block.config.option import Given, Option
from qabel_block.config.options import OPTIONS
from qabel_block.log.setup import set_twistd_logger
from qabel_block.names import shown

USAGE_ERROR = 64
"""The exit status for a wrong command line (EX_USAGE of sysexits.h)."""


class Options(usage.Options):
    """Reads command line and environment into values by option name.

    :ivar given: where the values that are not defaults come from, ``--NAME`` or an
        environment variable, by option name.
    :ivar arguments: the command line as it was typed.
    :ivar repeated: what was typed for options that may be repeated, by name.
    """

    synopsis = "[options]"
    optFlags = [[option.name, None] for option in OPTIONS if not option.takes_value]
    optParameters = [
        [option.name, None]
        for option in OPTIONS
        if option.takes_value and not option.repeatable
    ]

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environment = environment
        self.repeated: dict[str, list[str]] = {}
        self.given: dict[str, str] = {}

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"qabel-block {__version__}\n")
        raise SystemExit(0)

    def getUsage(self, width: int | None = None) -> str:
        """Return the help after the synopsis."""
        return formatted_options(width or shutil.get_terminal_size().columns)

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line.

        :param options: its words; by default those of this process.

        :raises SystemExit: with one line on stderr, if it is wrong. ``twist``
            would print all its help after a ``UsageError``.
        """
        try:
            self.read(sys.argv[1:] if options is None else options)
            explicit = any(name.startswith("log") for name in self.given)
            set_twistd_logger(self.parent, self["logging"], explicit)
            if self["asyncio"]:
                _install_asyncio_reactor()
        except usage.UsageError as error:
            line = " ".join(str(error).split())
            sys.stderr.write(f"qabel-block: {line}\n")
            raise SystemExit(USAGE_ERROR) from None

    def read(self, words: Sequence[str]) -> None:
        """Read a command line without touching log or reactor.

        :raises UsageError: if it is wrong.
        """
        self.arguments = list(words)
        self._refuse_unknown_options(self.arguments)
        super().parseOptions(self.arguments)

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            # It is not repeated: it may be a secret whose option was forgotten.
            number = len(self.arguments) - len(arguments) + 1
            raise usage.UsageError(f"only options are expected, word {number} is none")

    def postOptions(self) -> None:
        refuse_unknown_variables(self._environment)
        for option in OPTIONS:
            self[option.name] = self._value(option)
        check_combinations(self, self.given)

    def _refuse_unknown_options(self, words: Sequence[str]) -> None:
        """Refuse what getopt would take for the abbreviation of an option."""
        takes_value = {
            f"--{name.rstrip('=')}": name.endswith("=") for name in self.longOpt
        }
        remaining = iter(words)
        for word in remaining:
            if word == "--" or not word.startswith("-"):
                return
            if not word.startswith("--"):
                continue  # getopt refuses it: there are no short options
            # After the equals sign there may be a secret.
            name, equals, _ = word.partition("=")
            if name not in takes_value:
                similar = suggestion(name, takes_value, "--")
                raise usage.UsageError(f"there is no option {shown(name)}{similar}")
            if takes_value[name] and not equals:
                next(remaining, None)

    def _value(self, option: Option) -> Any:
        given = self._typed(option) or given_in_environment(option, self._environment)
        if given is None:
            return option.value_by_default()
        self.given[option.name] = given.source
        return option.value_of(given)

    def _typed(self, option: Option) -> Given | None:
        """Return what is on the command line."""
        if option.repeatable:
            texts = self.repeated.get(option.name, [])
        elif option.takes_value:
            texts = [] if self[option.name] is None else [self[option.name]]
        else:
            texts = ["true"] if self[option.name] else []
        return Given(option.flag, texts) if texts else None


def _collector(name: str) -> Callable[[Options, str], None]:
    """Return the method that Twisted calls each time a repeatable option is typed."""

    def collect(self: Options, text: str) -> None:
        self.repeated.setdefault(name, []).append(text)

    return collect


for _option in OPTIONS:
    if _option.repeatable:
        _method = f"opt_{_option.name.replace('-', '_')}"
        setattr(Options, _method, _collector(_option.name))


def _install_asyncio_reactor() -> None:
    from asyncio import new_event_loop

    from twisted.internet.asyncioreactor import AsyncioSelectorReactor, install

    installed = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        install(new_event_loop())
    elif not isinstance(installed, AsyncioSelectorReactor):
        raise usage.UsageError("--asyncio: another reactor is installed already")
