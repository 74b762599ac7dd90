"""Lines of the log: for programs, for people, and for an operator's own formatters."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle

import pytest
from attrs import frozen
from twisted.logger import LogEvent, Logger, LogPublisher
from twisted.python.failure import Failure

from qabel_block.errors import Unavailable
from qabel_block.log.access import AccessRecord
from qabel_block.log.formats import ColouredFormatter, JsonFormatter, TextFormatter
from qabel_block.log.observer import PythonLogObserver

NAME = "qabel_block.test"


def access(path: str = "/a", method: str = "GET", cut: bool = False) -> AccessRecord:
    return AccessRecord(
        1_800_000_000.25,
        method,
        path,
        200,
        5,
        0.0123,
        7,
        'id-"\\',
        "192.0.2.1",
        cut,
    )


@frozen
class Heard:
    """What Twisted's events have become."""

    records: list[logging.LogRecord]
    log: Logger

    @property
    def line(self) -> dict[str, object]:
        """The last one as a line for programs."""
        return dict(json.loads(JsonFormatter().format(self.records[-1])))


@pytest.fixture
def heard() -> Heard:
    records: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger = logging.getLogger(NAME)
    logger.handlers = [Handler()]
    logger.setLevel("DEBUG")
    logger.propagate = False
    return Heard(records, Logger(NAME, observer=LogPublisher(PythonLogObserver())))


def test_access() -> None:
    """A request is an object with its parts."""
    line = json.loads(JsonFormatter().format(access("/a")))
    assert line.pop("process") > 0
    assert line == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "INFO",
        "logger": "qabel_block.access",
        "message": "GET /a 200",
        "method": "GET",
        "path": "/a",
        "status": 200,
        "bytes": 5,
        "ms": 12.3,
        "user": 7,
        "client": "192.0.2.1",
        "request": 'id-"\\',
    }


@pytest.mark.parametrize(
    "odd", ['/"', "/\\", "/\n{}", "/\x1b[31m", "/\x00", "/\xff", "/\u2028", '","x":"']
)
def test_odd_paths(odd: str) -> None:
    """Whatever is asked for, it is one line, and nothing that it is not."""
    for record in (access(odd), access(method=odd)):
        text = JsonFormatter().format(record)
        assert text.isascii()
        assert text.isprintable()
        line = json.loads(text)
        assert odd in (line["path"], line["method"])
        assert "x" not in line
        assert TextFormatter().format(record).isprintable()


def test_cut() -> None:
    """That a connection ended too early is said."""
    assert json.loads(JsonFormatter().format(access(cut=True)))["cut"] is True
    assert TextFormatter().format(access(cut=True)).endswith(" cut")


def test_for_people() -> None:
    """On a terminal it is text, with the level in colour."""
    plain = TextFormatter().format(access())
    assert " INFO [" in plain
    assert "qabel_block.access GET /a 200 5 B 12.3 ms user=7" in plain
    assert "client=192.0.2.1 request=id-" in plain
    assert " \x1b[32mINFO\x1b[0m [" in ColouredFormatter().format(access())


@pytest.mark.parametrize("style", ["%", "{", "$"])
def test_own_formats(style: str) -> None:
    """A formatter of the operator's may use whatever records of Python have, and a
    request's parts."""
    names = (
        *("asctime", "created", "filename", "funcName", "levelname", "levelno"),
        *("lineno", "message", "module", "msecs", "name", "pathname", "process"),
        *("processName", "relativeCreated", "thread", "threadName", "taskName"),
        *("method", "path", "status", "sent", "milliseconds", "user_id", "client"),
    )
    one = {"%": "%({})s", "{": "{{{}}}", "$": "${{{}}}"}[style]
    formatter = logging.Formatter(
        " ".join(one.format(name) for name in names),
        style=style,  # type: ignore[arg-type]
    )
    line = formatter.format(access())
    assert "GET /a 200 5 B" in line
    assert line.endswith("GET /a 200 5 12.3 7 192.0.2.1")


def test_copies() -> None:
    """Records can be copied and sent to other processes, as QueueHandler and
    SocketHandler do."""
    text = JsonFormatter().format(access())
    assert JsonFormatter().format(copy.copy(access())) == text
    assert pickle.loads(pickle.dumps(access())).getMessage() == access().getMessage()


def test_events(heard: Heard) -> None:
    """Events have their words and what is in the words."""
    heard.log.warn(
        "{kind} in {request_id}: {error}",
        kind="trouble",
        request_id="r",
        error=Unavailable("cache", "gone"),
        other=object(),
    )
    line = heard.line
    assert line["message"] == "trouble in r: cache: gone"
    assert line["level"] == "WARNING"
    assert (line["kind"], line["request_id"]) == ("trouble", "r")
    assert line["error"] == "cache: gone"
    assert "other" not in line


def test_fields_do_not_hide_others(heard: Heard) -> None:
    """Nothing in the words takes the place of what every line has."""
    heard.log.info("{process} {time}", process="none", time="never", logger="x")
    line = heard.line
    assert line["logger"] == NAME
    assert line["process"] == os.getpid()
    assert str(line["time"]).endswith("Z")


def test_tracebacks(heard: Heard) -> None:
    """A traceback is part of its line."""
    try:
        raise ValueError("why")
    except ValueError:
        heard.log.failure("it broke", failure=Failure())
    line = heard.line
    assert line["message"] == "it broke"
    assert "ValueError: why" in str(line["exception"])
    assert "test_tracebacks" in str(line["exception"])


def test_python_and_twisted() -> None:
    """What goes through Twisted's log arrives as it was."""
    logger = logging.getLogger("qabel_block.access")
    seen: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Handler()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    record = access()
    event: LogEvent = {"log_namespace": "qabel_block.access", "log_record": record}
    PythonLogObserver()(event)
    logger.removeHandler(handler)
    assert seen == [record]
