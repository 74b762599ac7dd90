"""The options of ``twist qabel-block`` (PROTOCOL section 6).

One table holds them all; the command line, the environment and the help are
made from it. Nothing here may import the reactor: ``--asyncio`` installs one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Mapping
from typing import Any

from attrs import frozen
from twisted.python import usage

from qabel_block import __version__
from qabel_block.config import values as values
from qabel_block.log.setup import claim_log

USAGE_ERROR = 64
"""The exit status for a wrong command line (EX_USAGE of sysexits.h)."""

ENVIRONMENT = "QABEL_BLOCK_"


@frozen
class Option:
    """One option.

    :ivar parse: reads its value, ``values.flag`` for one that has none on the
        command line.
    :ivar default: as it would be typed; ``None`` if there is none.
    :ivar repeatable: whether it may be given several times.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    repeatable: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that it may come from."""
        return ENVIRONMENT + self.name.upper().replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return self.parse is values.flag

    def given(
        self, typed: str | None, environment: Mapping[str, str]
    ) -> Callable[[], Any] | None:
        """Return what reads the value, from the command line or else from the
        environment; ``None`` if it is in neither."""
        if typed is not None:
            return lambda: self._read(f"--{self.name}", typed)
        found = environment.get(self.variable)
        return (lambda: self._read(self.variable, found)) if found else None

    def value_by_default(self) -> Any:
        """Return the value of an option that is not given."""
        if self.is_flag:
            return False
        if self.default is None:
            return () if self.repeatable else None
        return self.parse(self.default)

    def _read(self, source: str, value: str) -> Any:
        try:
            if self.repeatable:
                return tuple(self.parse(one) for one in value.split())
            return self.parse(value)
        except ValueError as error:
            raise usage.UsageError(f"{source}: {error}") from None


OPTIONS = (
    # Where to listen
    Option("address", values.text, "localhost", "Address to listen on."),
    Option("port", values.port, "8888", "Port to listen on; 0 takes a free one."),
    Option(
        "listen",
        values.endpoint,
        None,
        "Twisted endpoint to listen on (tcp:, ssl:, unix:, systemd:, haproxy:tcp:)"
        " instead of --address and --port. Repeatable; separate several by spaces"
        " in the environment.",
        repeatable=True,
    ),
    Option(
        "trusted-proxy",
        values.proxy,
        None,
        "Address or network of a proxy, or unix for whoever connects to a socket in"
        " the file system, whose X-Forwarded-For says where a request comes from."
        " Repeatable, like --listen.",
        repeatable=True,
    ),
    Option(
        "processes",
        values.positive,
        "1",
        "Processes that serve on the same sockets.",
    ),
    Option(
        "max-connections",
        values.not_negative,
        "10000",
        "Connections that each process serves at a time; 0 is any number. Others"
        " are answered with 503.",
    ),
    Option(
        "max-connections-per-address",
        values.not_negative,
        "1000",
        "Of these, from one IPv4 address or IPv6 /64 network; 0 is any number."
        " Loopback, Unix sockets and trusted proxies don't count.",
    ),
    Option(
        "drain",
        values.not_negative,
        "30",
        "Seconds that requests under way are given when the server stops.",
    ),
    # Where objects are kept
    Option(
        "standalone",
        values.directory,
        None,
        "Keep everything below this directory and in one process: no PostgreSQL,"
        " Redis or S3 is needed.",
    ),
    Option("local-storage", values.directory, None, "Directory to store files in."),
    Option(
        "x-accel-redirect",
        values.uri_prefix,
        None,
        "Let nginx send files of local storage, which it has below this prefix of"
        " internal URIs (such as /blobs). Nobody but nginx may reach the server then.",
    ),
    Option("dummy", values.flag, None, "Use temporary storage, forgotten at exit."),
    Option("s3-bucket", values.text, "qabel", "Bucket to store files in."),
    Option("s3-endpoint-url", values.url, None, "URL of an S3 other than AWS."),
    Option("s3-region", values.text, None, "Region of the bucket."),
    Option(
        "transfers", values.positive, "10", "Storage operations in threads at a time."
    ),
    Option("max-body-size", values.positive, "2147483648", "Largest upload, in bytes."),
    # The ledger and the cache
    Option(
        "psql-dsn",
        values.database,
        "postgresql://postgres:postgres@localhost/qabel-block",
        "Ledger: a libpq DSN or URL of PostgreSQL, or sqlite:///FILE.",
    ),
    Option("redis-host", values.text, "localhost", "Host of Redis."),
    Option("redis-port", values.port, "6379", "Port of Redis."),
    Option(
        "dummy-cache", values.flag, None, "Cache and push in process, not in Redis."
    ),
    # Who is asking
    Option(
        "accounting-host",
        values.url,
        "http://localhost:8000",
        "Base URL of the accounting server.",
    ),
    Option("apisecret", values.text, "secret", "APISECRET of the accounting server."),
    Option(
        "dummy-auth",
        values.text,
        None,
        "Know only this token (such as MAGICFARYDUST), which may write below any"
        " prefix, and no accounting server.",
    ),
    # What is going on
    Option("dummy-log", values.flag, None, "Print usage events on stdout, as JSON."),
    Option(
        "prometheus-port",
        values.port,
        None,
        "Port of --address on which to serve metrics to Prometheus; without it none"
        " are collected.",
    ),
    Option("debug", values.flag, None, "Log debug messages, and more tracebacks."),
    Option(
        "logging",
        values.one_of("debug", "info", "warning", "error", "none"),
        "info",
        "Log level; with none, logging is left to twist or twistd.",
    ),
    Option(
        "logging-config",
        values.json_file,
        None,
        "JSON file for Python's logging.config.dictConfig.",
    ),
    Option("log-file-prefix", values.file_in_directory, None, "File to log to."),
    Option(
        "log-file-max-size", values.positive, "100000000", "Bytes before it rotates."
    ),
    Option("log-file-num-backups", values.not_negative, "10", "Old log files to keep."),
    Option("log-rotate-mode", values.one_of("size", "time"), "size", "When to rotate."),
    Option(
        "log-rotate-when",
        values.one_of(
            "S", "M", "H", "D", "W0", "W1", "W2", "W3", "W4", "W5", "W6", "midnight"
        ),
        "midnight",
        "Unit of --log-rotate-interval, for mode time.",
    ),
    Option("log-rotate-interval", values.positive, "1", "Units between rotations."),
    Option(
        "log-to-stderr",
        values.flag,
        None,
        "Log to stderr; the default unless there is a log file or --logging-config.",
    ),
    # The reactor
    Option("asyncio", values.flag, None, "Run on the asyncio reactor."),
)

BY_NAME = {option.name: option for option in OPTIONS}


def _help(option: Option) -> str:
    if option.default is None:
        return option.help
    return f"{option.help} [default: {option.default}]"


class Options(usage.Options):
    """Reads command line and environment into values by option name.

    :ivar given: names of the options that did not keep their default.
    :ivar arguments: the command line as it was typed.
    """

    synopsis = "[options]"
    longdesc = (
        "Block storage for end-to-end encrypted clients. Every option may also come"
        f" from the environment, --psql-dsn from {BY_NAME['psql-dsn'].variable} and so"
        " on; the command line wins. A flag is set there by true or false."
    )
    optFlags = [
        [option.name, None, option.help] for option in OPTIONS if option.is_flag
    ]
    optParameters = [
        [option.name, None, None, _help(option)]
        for option in OPTIONS
        if not option.is_flag and not option.repeatable
    ]

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environment = environment
        self._repeated: dict[str, list[str]] = {}
        self.given: set[str] = set()

    def opt_listen(self, description: str) -> None:
        self._repeated.setdefault("listen", []).append(description)

    opt_listen.__doc__ = BY_NAME["listen"].help

    def opt_trusted_proxy(self, address: str) -> None:
        self._repeated.setdefault("trusted-proxy", []).append(address)

    opt_trusted_proxy.__doc__ = BY_NAME["trusted-proxy"].help

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"qabel-block {__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: Any = None) -> None:
        """Read the command line.

        :param options: its words; by default those of this process.

        :raises SystemExit: with one line on stderr, if it is wrong. ``twist``
            would print all its help after a ``UsageError``.
        """
        self.arguments = list(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            line = " ".join(str(error).split())
            sys.stderr.write(f"qabel-block: {line}\n")
            raise SystemExit(USAGE_ERROR) from None

    def parseArgs(self, *arguments: str) -> None:
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def postOptions(self) -> None:
        for option in OPTIONS:
            self[option.name] = self._value(option)
        self._check_combinations()
        explicit = any(name.startswith("log") for name in self.given)
        claim_log(self.parent, self["logging"], explicit)
        if self["asyncio"]:
            _install_asyncio_reactor()

    def _value(self, option: Option) -> Any:
        typed = self.get(option.name)
        if option.repeatable:
            typed = " ".join(self._repeated.get(option.name, ())) or None
        if option.is_flag:
            typed = "true" if typed else None
        given = option.given(typed, self._environment)
        if given is None:
            return option.value_by_default()
        self.given.add(option.name)
        return given()

    def _check_combinations(self) -> None:
        check_places(self, self.given)
        local = self["standalone"] or self["local-storage"]
        if self["x-accel-redirect"] and not local:
            raise usage.UsageError("--x-accel-redirect needs --local-storage")
        if self["processes"] > 1:
            self._check_processes()

    def _check_processes(self) -> None:
        """Refuse what several processes can't share."""
        for name in ("standalone", "dummy", "dummy-cache"):
            if self[name]:
                _contradict("processes", name)
        if self["psql-dsn"].startswith(values.SQLITE):
            raise usage.UsageError(
                "--processes: --psql-dsn names SQLite, for one process"
            )
        if self["logging"] == "none":
            raise usage.UsageError("--processes: not with --logging none")


OPTIONS_OF_S3 = ("s3-bucket", "s3-endpoint-url", "s3-region")


def check_places(chosen: Mapping[str, Any], given: Container[str]) -> None:
    """Refuse to keep objects, or the ledger, in two places.

    :param given: names of the options that did not keep their default.
    """
    s3 = [name for name in OPTIONS_OF_S3 if name in given]
    storages = [n for n in ("standalone", "local-storage", "dummy") if chosen[n]]
    places = [*storages, *s3[:1]]
    if len(places) > 1:
        _contradict(places[0], places[1])
    if chosen["standalone"] and "psql-dsn" in given:
        _contradict("standalone", "psql-dsn")


def _contradict(one: str, other: str) -> None:
    raise usage.UsageError(f"--{one} and --{other} exclude each other")


def _install_asyncio_reactor() -> None:
    from asyncio import new_event_loop

    from twisted.internet.asyncioreactor import AsyncioSelectorReactor, install

    installed = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        install(new_event_loop())
    elif not isinstance(installed, AsyncioSelectorReactor):
        raise usage.UsageError("--asyncio: another reactor is installed already")
