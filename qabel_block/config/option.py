"""One option: its name, how its value is read, how it is described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.python.usage import UsageError

from qabel_block.config import values as values

PREFIX = "QABEL_BLOCK_"
"""What the names of all environment variables begin with."""

_METAVARS: dict[Callable[[str], Any], str] = {
    values.database: "DSN",
    values.directory: "DIR",
    values.endpoint: "ENDPOINT",
    values.file_in_directory: "FILE",
    values.json_file: "FILE",
    values.not_negative: "N",
    values.port: "PORT",
    values.positive: "N",
    values.positive_size: "SIZE",
    values.proxy: "ADDRESS",
    values.size: "SIZE",
    values.uri_prefix: "PREFIX",
    values.url: "URL",
}


@frozen
class Given:
    """An option's value as the operator gave it.

    :ivar source: ``--NAME``, or the environment variable it comes from.
    :ivar texts: one; several only for an option that may be repeated.
    """

    source: str
    texts: Sequence[str]


@frozen
class Option:
    """One option.

    :ivar parse: reads its value, ``values.flag`` for one that has none on the
        command line. It raises ``ValueError``, with no secret in the text.
    :ivar default: as it would be typed; ``None`` if there is none.
    :ivar repeatable: whether it may be given several times.
    :ivar metavar: the word for its value in the help, by default that of ``parse``.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    repeatable: bool = False
    metavar: str | None = None

    @property
    def flag(self) -> str:
        """How it is typed."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that it may come from."""
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def takes_value(self) -> bool:
        """Whether a value follows on the command line."""
        return self.parse is not values.flag

    @property
    def shown_metavar(self) -> str | None:
        """The word for its value in the help, if it has one."""
        if not self.takes_value:
            return None
        return self.metavar or _METAVARS.get(self.parse, "TEXT")

    @property
    def described(self) -> str:
        """Its help, with its default."""
        if self.default is None:
            return self.help
        return f"{self.help} [default: {self.default}]"

    def value_by_default(self) -> Any:
        """Return the value of an option that is not given."""
        if not self.takes_value:
            return False
        if self.default is None:
            return () if self.repeatable else None
        return self.parse(self.default)

    def value_of(self, given: Given) -> Any:
        """Return the value that was given.

        :raises UsageError: if it is wrong; the text begins with its source.
        """
        try:
            parsed = tuple(self.parse(values.printable(one)) for one in given.texts)
        except ValueError as error:
            raise UsageError(f"{given.source}: {error}") from None
        return parsed if self.repeatable else parsed[0]
