"""Options from the command line and the environment (PROTOCOL section 6)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from qabel_block.config.command_line import USAGE_ERROR, Options
from qabel_block.config.config import (
    AccountingServer,
    Config,
    DummyUser,
    InProcess,
    LocalDirectory,
    MetricsAddress,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
    TemporaryDirectory,
    TemporaryLedger,
)
from qabel_block.config.from_options import configure
from qabel_block.config.help import formatted_options
from qabel_block.config.options import OPTIONS
from qabel_block.log.setup import LogConfig
from qabel_block.util.redis.address import RedisAddress

SECRET = "pa55word"


def parsed(*arguments: str, **environment: str) -> Config:
    """Read a command line and an environment."""
    options = Options(
        {f"QABEL_BLOCK_{name}": value for name, value in environment.items()}
    )
    options.parseOptions(list(arguments))
    return configure(options)


def refused(
    capsys: pytest.CaptureFixture[str], *arguments: str, **environment: str
) -> str:
    """Read what is wrong; return the one line that says so."""
    with pytest.raises(SystemExit) as caught:
        parsed(*arguments, **environment)
    assert caught.value.code == USAGE_ERROR
    written = capsys.readouterr()
    assert written.out == ""
    (line,) = written.err.splitlines()
    assert line.startswith("qabel-block: ")
    return line


def test_defaults() -> None:
    """Without any option, the defaults are those of the manual."""
    config = parsed()
    assert config.storage == S3Bucket("qabel", None, None)
    assert config.ledger == PostgresLedger(
        "postgresql://postgres:postgres@localhost/qabel-block"
    )
    assert config.cache == RedisAddress((("localhost", 6379),))
    assert config.accounts == AccountingServer("http://localhost:8000", "secret")
    assert config.endpoints == ("tcp:8888:interface=localhost",)
    assert config.max_body_size == 2147483648
    assert config.transfers == 10
    assert config.garbage_grace == 3600
    assert config.usage_log is False
    assert config.metrics is None
    assert config.log == LogConfig(
        "info", None, 100_000_000, 10, "size", "midnight", 1, None, None, False
    )


CASES: list[tuple[list[str], str, Any]] = [
    (
        ["--address", "::1", "--port", "0"],
        "endpoints",
        (r"tcp:0:interface=\:\:1",),
    ),
    (["--listen", "tcp:1", "--listen", "unix:/x"], "endpoints", ("tcp:1", "unix:/x")),
    (
        ["--trusted-proxy", "::1", "--trusted-proxy", "10.0.0.0/8"],
        "trusted_proxies",
        ("::1", "10.0.0.0/8"),
    ),
    (
        [
            *("--cors-origin", "https://App.example:443/"),
            *("--cors-origin", "http://[::1]:8080", "--cors-origin", "*"),
        ],
        "cors_origins",
        ("https://app.example", "http://[::1]:8080", "*"),
    ),
    (["--dummy"], "storage", TemporaryDirectory()),
    (["--dummy"], "ledger", TemporaryLedger()),
    (["--dummy", "--psql-dsn", "dbname=x"], "ledger", PostgresLedger("dbname=x")),
    (["--psql-dsn", "postgres://u@h/d"], "ledger", PostgresLedger("postgres://u@h/d")),
    (
        ["--psql-dsn", "sqlite:////tmp/x.db"],
        "ledger",
        SqliteLedger(Path("/tmp/x.db"), migrate=False),
    ),
    (
        ["--psql-dsn", "sqlite:///~/x.db"],
        "ledger",
        SqliteLedger(Path.home() / "x.db", migrate=False),
    ),
    (["--local-storage", "/tmp/x"], "storage", LocalDirectory(Path("/tmp/x"))),
    (
        ["--local-storage", "/tmp/x", "--reserve", "2G"],
        "storage",
        LocalDirectory(Path("/tmp/x"), 2 * 2**30),
    ),
    (["--standalone", "/tmp/x"], "storage", LocalDirectory(Path("/tmp/x/objects"))),
    (
        ["--standalone", "/tmp/x"],
        "ledger",
        SqliteLedger(Path("/tmp/x/ledger.sqlite"), migrate=True),
    ),
    (["--standalone", "/tmp/x"], "cache", InProcess()),
    (
        ["--s3-bucket", "b", "--s3-endpoint-url", "http://h:1/", "--s3-region", "r"],
        "storage",
        S3Bucket("b", "http://h:1", "r"),
    ),
    (["--redis-host", "h", "--redis-port", "1"], "cache", RedisAddress((("h", 1),))),
    (
        ["--redis-url", "redis://:p@h/1"],
        "cache",
        RedisAddress((("h", 6379),), password="p", database=1),
    ),
    (["--dummy-cache"], "cache", InProcess()),
    (
        ["--accounting-host", "https://h/x/", "--apisecret", "s"],
        "accounts",
        AccountingServer("https://h/x", "s"),
    ),
    (["--dummy-auth", "T"], "accounts", DummyUser("T")),
    (
        ["--local-storage", "/tmp/x", "--x-accel-redirect", "/a/b/"],
        "x_accel_redirect",
        "/a/b",
    ),
    (["--max-body-size", "1"], "max_body_size", 1),
    (["--max-body-size", "10M"], "max_body_size", 10 * 2**20),
    (["--max-body-size", "3GiB"], "max_body_size", 3 * 2**30),
    (["--max-connections", "5"], "max_connections", 5),
    (["--max-connections-per-address", "0"], "max_connections_per_address", 0),
    (["--transfers", "3"], "transfers", 3),
    (["--dummy-log"], "usage_log", True),
    (
        ["--prometheus-port", "9", "--address", "h"],
        "metrics",
        MetricsAddress("h", 9),
    ),
    (["--debug"], "log", LogConfig("debug")),
    (["--garbage-grace", "60"], "garbage_grace", 60.0),
    (["--logging", "none"], "log", LogConfig("none", explicit=True)),
    (
        ["--log-file-prefix", "/tmp/x.log", "--log-rotate-mode", "time"],
        "log",
        LogConfig(file=Path("/tmp/x.log"), rotate_mode="time", explicit=True),
    ),
    (
        ["--log-rotate-when", "W0", "--log-rotate-interval", "2"],
        "log",
        LogConfig(rotate_when="W0", rotate_interval=2, explicit=True),
    ),
    (
        ["--log-file-max-size", "5", "--log-file-num-backups", "0"],
        "log",
        LogConfig(max_size=5, backups=0, explicit=True),
    ),
    (["--log-file-max-size", "2K"], "log", LogConfig(max_size=2048, explicit=True)),
    (["--log-to-stderr"], "log", LogConfig(stderr=True, explicit=True)),
]


@pytest.mark.parametrize(("arguments", "field", "expected"), CASES)
def test_command_line(arguments: list[str], field: str, expected: object) -> None:
    """Each option has its effect."""
    assert getattr(parsed(*arguments), field) == expected


def _as_environment(arguments: list[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    remaining = list(arguments)
    flags = {option.name for option in OPTIONS if not option.takes_value}
    while remaining:
        name = remaining.pop(0).removeprefix("--")
        value = "true" if name in flags else remaining.pop(0)
        variable = name.upper().replace("-", "_")
        before = variables.get(variable)
        variables[variable] = f"{before} {value}" if before else value
    return variables


@pytest.mark.parametrize(("arguments", "field", "expected"), CASES)
def test_environment(arguments: list[str], field: str, expected: object) -> None:
    """Each option may come from the environment, with the same effect."""
    assert getattr(parsed(**_as_environment(arguments)), field) == expected


def test_every_option_is_tested() -> None:
    """The cases above leave no option out but those with tests of their own."""
    tested = {name for arguments, _, _ in CASES for name in arguments}
    names = {f"--{option.name}" for option in OPTIONS}
    assert names - tested == {
        "--accounts",
        "--asyncio",
        "--drain",
        "--first-token",
        "--first-user",
        "--logging-config",
        "--metrics-per-user",
        "--processes",
    }


def test_command_line_wins() -> None:
    """What is typed wins over the environment; what is empty there is not set."""
    assert parsed("--port", "1", PORT="2").endpoints == ("tcp:1:interface=localhost",)
    assert parsed(PORT="").endpoints == ("tcp:8888:interface=localhost",)
    assert parsed(DUMMY="false").storage == S3Bucket("qabel", None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "x"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--port", ""],
        ["--redis-port", "1.5"],
        ["--prometheus-port", "\u0664"],
        ["--max-body-size", "0"],
        ["--max-body-size", "-1"],
        ["--max-body-size", "10m"],
        ["--max-body-size", "10KB"],
        ["--max-body-size", "1.5G"],
        ["--max-body-size", "10 M"],
        ["--max-body-size", "M"],
        ["--max-body-size", "8388608T"],
        ["--max-body-size", "9" * 5000],
        ["--max-connections", "-1"],
        ["--max-connections-per-address", "all"],
        ["--transfers", "0"],
        ["--transfers", "many"],
        ["--address", ""],
        ["--listen", "8888"],
        ["--listen", "carrier-pigeon:1"],
        ["--trusted-proxy", "proxy.example"],
        ["--trusted-proxy", "192.0.2.1/8"],
        ["--cors-origin", "app.example"],
        ["--cors-origin", "https://app.example/path"],
        ["--cors-origin", "https://user@app.example"],
        ["--cors-origin", "https://*.example"],
        ["--accounting-host", "localhost:8000"],
        ["--accounting-host", "ftp://h"],
        ["--s3-endpoint-url", "h"],
        ["--s3-endpoint-url", "http://h h"],
        ["--s3-endpoint-url", "http://h:99999"],
        ["--accounting-host", "http://h/a?b=c"],
        ["--accounting-host", "http://h/a?"],
        ["--accounting-host", "http://h/a#b"],
        ["--accounting-host", "http://u:p@h"],
        ["--accounting-host", "http://h\u00e4"],
        ["--x-accel-redirect", "blobs"],
        ["--x-accel-redirect", "/"],
        ["--x-accel-redirect", "/a/../b"],
        ["--x-accel-redirect", "/a%2Fb"],
        ["--x-accel-redirect", ""],
        ["--local-storage", "/dev/null"],
        ["--local-storage", "/nowhere/at/all"],
        ["--standalone", "/nowhere/at/all"],
        ["--standalone", ""],
        ["--logging", "loud"],
        ["--log-rotate-mode", "never"],
        ["--log-rotate-when", "W7"],
        ["--log-file-max-size", "0"],
        ["--log-file-num-backups", "-1"],
        ["--log-file-prefix", "/tmp"],
        ["--log-file-prefix", "/nowhere/at/all"],
        ["--logging-config", "/nowhere"],
        ["--logging-config", "/dev/null"],
        ["--psql-dsn", "mysql://h/d"],
        ["--psql-dsn", "no equals sign"],
        ["--psql-dsn", "sqlite:////nowhere/at/all"],
        ["--psql-dsn", ""],
        ["--redis-url", "http://h"],
        ["--redis-url", "redis://p@h"],
        ["--apisecret", ""],
        ["--dummy-auth", ""],
    ],
)
def test_wrong_values(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A wrong value is one line that names the option, typed or not."""
    option = arguments[0]
    assert option in refused(capsys, *arguments)
    if arguments[1]:
        variable = option.removeprefix("--").upper().replace("-", "_")
        line = refused(capsys, **{variable: arguments[1]})
        assert f"QABEL_BLOCK_{variable}" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["--port"],
        ["argument"],
        ["--dummy", "--local-storage", "/tmp"],
        ["--standalone", "/tmp/x", "--dummy"],
        ["--standalone", "/tmp/x", "--psql-dsn", "dbname=x"],
        ["--standalone", "/tmp/x", "--local-storage", "/tmp"],
        ["--standalone", "/tmp/x", "--s3-bucket", "b"],
        ["--standalone", "/tmp/x", "--s3-endpoint-url", "http://h"],
        ["--standalone", "/tmp/x", "--s3-region", "r"],
        ["--standalone", "/tmp/x", "--redis-host", "h"],
        ["--standalone", "/tmp/x", "--redis-port", "1"],
        ["--standalone", "/tmp/x", "--processes", "2"],
        ["--local-storage", "/tmp", "--s3-bucket", "b"],
        ["--x-accel-redirect", "/blobs"],
        ["--x-accel-redirect", "/blobs", "--dummy"],
        ["--redis-url", "redis://h", "--redis-host", "h"],
        ["--redis-url", "redis://h", "--redis-port", "6379"],
    ],
)
def test_wrong_command_lines(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """What is not known, not complete or contradicts itself is one line."""
    refused(capsys, *arguments)


def test_contradictions_name_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """A contradiction names the environment variable that a value comes from."""
    line = refused(capsys, "--standalone", "/tmp/x", REDIS_HOST="h")
    assert line == (
        "qabel-block: --standalone and QABEL_BLOCK_REDIS_HOST exclude each other"
    )
    line = refused(capsys, STANDALONE="/tmp/x", DUMMY="1")
    assert "QABEL_BLOCK_STANDALONE and QABEL_BLOCK_DUMMY exclude" in line
    assert "QABEL_BLOCK_X_ACCEL_REDIRECT needs" in refused(
        capsys, X_ACCEL_REDIRECT="/blobs"
    )


@pytest.mark.parametrize("option", ["--prot", "--por", "--stand", "--liste", "--hel"])
def test_options_are_not_abbreviated(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Neither the beginning of an option's name nor a near miss is taken for it."""
    line = refused(capsys, f"{option}={SECRET}")
    assert f"there is no option {option}; did you mean --" in line
    assert SECRET not in line


def test_value_that_looks_like_an_option() -> None:
    """The value of an option is no option."""
    assert parsed("--apisecret", "--prot").accounts == AccountingServer(
        "http://localhost:8000", "--prot"
    )


@pytest.mark.parametrize("text", ["a\nb", "a\0", "\x1b[31m", "a\x7f", "\x85", "\udcff"])
def test_control_characters(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """A control character in a value, or what is not UTF-8, is a usage error that
    does not repeat it."""
    for option in ("--address", "--psql-dsn", "--apisecret", "--listen"):
        line = refused(capsys, option, text)
        assert line.isprintable()
        assert option in line
        refused(capsys, **{option[2:].upper().replace("-", "_"): f"tcp:{text}"})


def test_repeated_values_may_have_spaces() -> None:
    """Only in the environment do spaces separate the values of an option."""
    assert parsed("--listen", "unix:/a b").endpoints == ("unix:/a b",)
    assert parsed(LISTEN=" tcp:1  tcp:2 ").endpoints == ("tcp:1", "tcp:2")


@pytest.mark.parametrize(("arguments", "field", "expected"), CASES)
def test_files(
    arguments: list[str], field: str, expected: object, tmp_path: Path
) -> None:
    """Each option may come from a file that a variable names, with the same effect;
    one newline at its end is taken off."""
    variables = {}
    for name, value in _as_environment(arguments).items():
        (tmp_path / name).write_text(f"{value}\n")
        variables[f"{name}_FILE"] = str(tmp_path / name)
    assert getattr(parsed(**variables), field) == expected


def test_command_line_wins_over_files(tmp_path: Path) -> None:
    """What is typed wins over a file, which is not read."""
    config = parsed("--apisecret", "s", APISECRET_FILE="/nowhere")
    assert config.accounts == AccountingServer("http://localhost:8000", "s")


def test_wrong_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that can't be read, is too large, empty or has a second line is one
    line that names the variable, and nothing that is in the file."""
    for name, content in {
        "lines": f"{SECRET}\n\n".encode(),
        "large": SECRET.encode() * 10_000,
        "latin": SECRET.encode() + b"\xe4",
        "empty": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    for path in ("/nowhere", "/", "lines", "large", "latin", "empty"):
        line = refused(capsys, APISECRET_FILE=str(tmp_path / path))
        assert "QABEL_BLOCK_APISECRET_FILE" in line
        assert SECRET not in line


def test_variable_and_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A value and a file for the same option are a usage error."""
    line = refused(capsys, APISECRET=SECRET, APISECRET_FILE=str(tmp_path / "x"))
    assert "QABEL_BLOCK_APISECRET and QABEL_BLOCK_APISECRET_FILE" in line
    assert SECRET not in line
    assert parsed(APISECRET="", APISECRET_FILE="") == parsed()


def test_no_option_looks_like_a_file() -> None:
    """No option's name ends as the variables do that name files."""
    assert not [one.name for one in OPTIONS if one.variable.endswith("_FILE")]


def test_unknown_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that nobody reads is a usage error, and a near miss is suggested."""
    line = refused(capsys, PSQL_DNS=SECRET)
    assert "QABEL_BLOCK_PSQL_DNS is no known variable" in line
    assert "did you mean QABEL_BLOCK_PSQL_DSN?" in line
    assert SECRET not in line
    line = refused(capsys, APISECRET_FIEL=SECRET)
    assert "did you mean QABEL_BLOCK_APISECRET_FILE?" in line
    assert "did you mean" not in refused(capsys, XYZZY="")
    refused(capsys, psql_dsn="x")


def test_variables_of_kubernetes(capsys: pytest.CaptureFixture[str]) -> None:
    """What Kubernetes sets for a Service named like the server is told from a mistake,
    and the line says what to do."""
    line = refused(
        capsys,
        PORT="tcp://10.0.0.1:8888",
        PORT_8888_TCP_ADDR="10.0.0.1",
        SERVICE_HOST="10.0.0.1",
    )
    assert "Kubernetes" in line
    assert "enableServiceLinks: false" in line
    assert "Kubernetes" in refused(capsys, METRICS_SERVICE_PORT="9090")
    assert "not a whole number" in refused(capsys, PORT="tcp://10.0.0.1:8888")


def test_help_is_grouped() -> None:
    """The help has a heading for each group, and each option once, under its own, with
    the word for its value."""
    headings = ("Listening", "Storage", "Ledger", "Accounts", "Cache and push")
    before, *texts = re.split(r"(?m)^(\w[\w ]*):$", formatted_options(80))
    shown = dict(zip(texts[::2], texts[1::2], strict=True))
    assert tuple(shown)[: len(headings)] == headings
    assert "\n  --" not in before
    found = {
        flag: (heading, metavar)
        for heading, text in shown.items()
        for flag, metavar in re.findall(r"(?m)^  --([\w-]+) ?([^\s\[]*)", text)
    }
    assert sum(text.count("\n  --") for text in shown.values()) == len(found)
    for name in ("version", "help"):
        del found[name]
    words = {option.name: option.shown_metavar or "" for option in OPTIONS}
    assert {name: word for name, (_, word) in found.items() if words[name]} == {
        name: word for name, word in words.items() if word
    }
    assert found.keys() == words.keys()
    for name, heading in (
        ("port", "Listening"),
        ("s3-bucket", "Storage"),
        ("psql-dsn", "Ledger"),
        ("apisecret", "Accounts"),
        ("redis-url", "Cache and push"),
        ("logging", "Log and metrics"),
    ):
        assert found[name][0] == heading


def test_other_variables() -> None:
    """Variables of the tests and of workers are known, and those of others don't
    matter."""
    assert parsed(TEST_X="1", WORKER="x") == parsed()
    options = Options({"QABEL": "1", "PATH": "", "QABEL_BLOCKS": "x"})
    options.parseOptions([])


def test_secrets_are_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """No password is in an error, nor in what a configuration looks like."""
    for dsn in (f"mysql://u:{SECRET}@h/d", f"host=h password='{SECRET}"):
        assert SECRET not in refused(capsys, "--psql-dsn", dsn)
    assert SECRET not in refused(capsys, "--dummy", SECRET)
    for url in (f"redis://{SECRET}@h", f"redis://:{SECRET}@h:x"):
        assert SECRET not in refused(capsys, "--redis-url", url)
    config = parsed(
        *("--psql-dsn", f"postgresql://u:{SECRET}@h/d", "--apisecret", SECRET),
        *("--redis-url", f"redis://u:{SECRET}@h"),
    )
    assert SECRET not in repr(config)
    assert SECRET not in repr(parsed("--dummy-auth", SECRET))


def test_flags_in_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag is set there by true or false, and nothing else."""
    assert parsed(DUMMY="yes").storage == TemporaryDirectory()
    assert "QABEL_BLOCK_DUMMY" in refused(capsys, DUMMY="perhaps")
