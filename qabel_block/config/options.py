"""The table of the options of ``twist qabel-block`` (PROTOCOL section 6).

The command line, the environment and the help are made from it. Nothing here may
import the reactor: ``--asyncio`` installs one.
"""

from __future__ import annotations

from itertools import chain

from qabel_block.config import values
from qabel_block.config.option import Option
from qabel_block.util.redis.address import parse_redis_url

LISTENING = (
    Option(
        "address", values.text, "localhost", "Address to listen on.", metavar="HOST"
    ),
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
        "cors-origin",
        values.origin,
        None,
        "Origin, such as https://app.example, whose pages browsers let use this"
        " server; * for any. Without it browsers let none. Repeatable, like --listen.",
        repeatable=True,
        metavar="ORIGIN",
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
        "Time that requests under way are given when the server stops.",
        metavar="SECONDS",
    ),
)

STORAGE = (
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
    Option(
        "s3-bucket", values.text, "qabel", "Bucket to store files in.", metavar="NAME"
    ),
    Option("s3-endpoint-url", values.url, None, "URL of an S3 other than AWS."),
    Option("s3-region", values.text, None, "Region of the bucket.", metavar="NAME"),
    Option(
        "transfers", values.positive, "10", "Storage operations in threads at a time."
    ),
    Option(
        "reserve",
        values.size,
        None,
        "Bytes of the disk that uploads to local storage leave free; by default 1 % of"
        " it, between 16M and 1G.",
    ),
    Option("max-body-size", values.positive_size, "2G", "Largest upload."),
    Option(
        "garbage-grace",
        values.not_negative,
        "3600",
        "How long what was replaced or deleted stays in storage; no download should"
        " take longer.",
        metavar="SECONDS",
    ),
)

LEDGER = (
    Option(
        "psql-dsn",
        values.database,
        "postgresql://postgres:postgres@localhost/qabel-block",
        "Database of the ledger: a libpq DSN or URL of PostgreSQL, or sqlite:///FILE.",
    ),
)

CACHE = (
    Option("redis-host", values.text, "localhost", "Host of Redis.", metavar="HOST"),
    Option("redis-port", values.port, "6379", "Port of Redis."),
    Option(
        "redis-url",
        parse_redis_url,
        None,
        "Redis, instead of host and port: redis://, rediss://, unix:// with"
        " USER:PASSWORD@ and a database number, or redis+sentinel://HOST,HOST/MASTER/DB.",
        metavar="URL",
    ),
    Option(
        "dummy-cache", values.flag, None, "Cache and push in process, not in Redis."
    ),
)

ACCOUNTS = (
    Option(
        "accounting-host",
        values.url,
        "http://localhost:8000",
        "Base URL of the accounting server.",
    ),
    Option(
        "apisecret",
        values.text,
        "secret",
        "APISECRET of the accounting server.",
        metavar="SECRET",
    ),
    Option(
        "dummy-auth",
        values.text,
        None,
        "Know only this token (such as MAGICFARYDUST), which may write below any"
        " prefix, and no accounting server.",
        metavar="TOKEN",
    ),
    Option(
        "accounts",
        values.one_of("server", "builtin"),
        None,
        "Where users are known: on the accounting server (server), or in the ledger"
        " (builtin), where qabel-block user add makes them [default: server; builtin"
        " with --standalone].",
        metavar="server|builtin",
    ),
    Option(
        "first-user",
        values.user_name,
        None,
        "With builtin accounts: make this user at the start if there has never been"
        " any. Needs --first-token.",
        metavar="NAME",
    ),
    Option(
        "first-token",
        values.builtin_token,
        None,
        "The token of the first user: qb_ and at least 22 characters. Give it in"
        " QABEL_BLOCK_FIRST_TOKEN or QABEL_BLOCK_FIRST_TOKEN_FILE: here it shows in the"
        " list of processes.",
        metavar="TOKEN",
    ),
)

LOG = (
    Option("dummy-log", values.flag, None, "Print usage events on stdout, as JSON."),
    Option(
        "prometheus-port",
        values.port,
        None,
        "Port of --address on which to serve metrics to Prometheus; without it none"
        " are collected.",
    ),
    Option(
        "metrics-per-user",
        values.flag,
        None,
        "Among the metrics, tell what each user stores, may store, and when the user"
        " last uploaded anything.",
    ),
    Option("debug", values.flag, None, "Log debug messages, and more tracebacks."),
    Option(
        "logging",
        values.one_of("debug", "info", "warning", "error", "none"),
        "info",
        "Lowest level that is logged: debug, info, warning, error; with none, logging"
        " is left to twist or twistd.",
        metavar="LEVEL",
    ),
    Option(
        "logging-config",
        values.json_file,
        None,
        "JSON file for Python's logging.config.dictConfig.",
    ),
    Option("log-file-prefix", values.file_in_directory, None, "File to log to."),
    Option(
        "log-file-max-size",
        values.positive_size,
        "100000000",
        "Size at which the log file is rotated, with --log-rotate-mode size.",
    ),
    Option("log-file-num-backups", values.not_negative, "10", "Old log files to keep."),
    Option(
        "log-rotate-mode",
        values.one_of("size", "time"),
        "size",
        "Rotate the log file by size or by time.",
        metavar="MODE",
    ),
    Option(
        "log-rotate-when",
        values.one_of(
            "S", "M", "H", "D", "W0", "W1", "W2", "W3", "W4", "W5", "W6", "midnight"
        ),
        "midnight",
        "Unit of --log-rotate-interval: S, M, H, D, W0 (Monday) to W6, midnight.",
        metavar="UNIT",
    ),
    Option(
        "log-rotate-interval",
        values.positive,
        "1",
        "Units between rotations, with --log-rotate-mode time.",
    ),
    Option(
        "log-to-stderr",
        values.flag,
        None,
        "Log to stderr; the default unless there is a log file or --logging-config.",
    ),
)

REACTOR = (Option("asyncio", values.flag, None, "Run on the asyncio reactor."),)

GROUPS = {
    "Listening": LISTENING,
    "Storage": STORAGE,
    "Ledger": LEDGER,
    "Accounts": ACCOUNTS,
    "Cache and push": CACHE,
    "Log and metrics": LOG,
    "Reactor": REACTOR,
}
"""All options, by the headings of the help."""

OPTIONS = tuple(chain.from_iterable(GROUPS.values()))

BY_NAME = {option.name: option for option in OPTIONS}
