"""When lines are written, and to which file."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

from qabel_block.log.formats import TextFormatter
from qabel_block.log.handlers import (
    BatchHandler,
    SizedFileSink,
    StreamSink,
    TimedFileSink,
    write_in_turns,
)
from tests.unit.log.test_formats import access


@define
class Turns:
    """A reactor of which the test decides when the next turn is."""

    waiting: list[Callable[[], None]] = field(factory=list)
    begin: Callable[[], None] = field(init=False)
    end: Callable[[], None] = field(init=False)

    def callLater(self, seconds: float, function: Callable[[], None]) -> None:
        assert seconds == 0
        self.waiting.append(function)

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.begin = function

    def addSystemEventTrigger(
        self, phase: str, event: str, function: Callable[[], None]
    ) -> None:
        assert (phase, event) == ("after", "shutdown")
        self.end = function

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for function in waiting:
            function()


class _Broken(io.StringIO):
    """A disk that is full."""

    def write(self, text: str) -> int:
        raise OSError("no space left")


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def handler(stream: io.StringIO) -> Iterator[BatchHandler]:
    """The only handler there is, of a log at level INFO."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    handler = BatchHandler(StreamSink(stream))
    handler.setFormatter(TextFormatter())
    root.handlers = [handler]
    root.setLevel("INFO")
    yield handler
    root.handlers = before
    root.setLevel(level)


def _ask(path: str) -> None:
    logging.getLogger("qabel_block.access").handle(access(path))


def test_at_once(handler: BatchHandler, stream: io.StringIO) -> None:
    """Before the reactor runs, nothing waits."""
    write_in_turns(Turns())
    _ask("/a")
    assert "/a" in stream.getvalue()


def test_in_turns(handler: BatchHandler, stream: io.StringIO) -> None:
    """Requests of one turn are written together, in order, in the next."""
    turns = Turns()
    write_in_turns(turns)
    turns.begin()
    for path in ("/a", "/b", "/c"):
        _ask(path)
    assert stream.getvalue() == ""
    assert len(turns.waiting) == 1
    turns.turn()
    assert [line.split()[5] for line in stream.getvalue().splitlines()] == [
        *("/a", "/b", "/c")
    ]
    _ask("/d")
    turns.turn()
    assert "/d" in stream.getvalue()


def test_events_do_not_wait(handler: BatchHandler, stream: io.StringIO) -> None:
    """Everything else is written at once, after what has waited before it."""
    turns = Turns()
    write_in_turns(turns)
    turns.begin()
    _ask("/a")
    logging.getLogger("test").error("trouble")
    lines = stream.getvalue().splitlines()
    assert "/a" in lines[0]
    assert "trouble" in lines[1]
    turns.turn()
    assert len(stream.getvalue().splitlines()) == 2


def test_nothing_is_lost_at_the_end(handler: BatchHandler, stream: io.StringIO) -> None:
    """What waits when the reactor ends is written then, and what comes after that
    at once."""
    turns = Turns()
    write_in_turns(turns)
    turns.begin()
    _ask("/a")
    turns.end()
    assert "/a" in stream.getvalue()
    _ask("/b")
    assert "/b" in stream.getvalue()


def test_exit_without_an_end(handler: BatchHandler, stream: io.StringIO) -> None:
    """What Python does at its exit writes what waits."""
    turns = Turns()
    write_in_turns(turns)
    turns.begin()
    _ask("/a")
    logging.shutdown()
    assert "/a" in stream.getvalue()


def test_full_disk(
    handler: BatchHandler, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A log that can't be written raises nothing and says so once."""
    broken = BatchHandler(StreamSink(_Broken()))
    logging.getLogger().handlers = [broken]
    for _ in range(10):
        _ask("/a")
        logging.getLogger("test").error("trouble")
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "qabel-block: the log is not written: OSError"


def _lines(*texts: str) -> list[str]:
    return [f"{text}\n" for text in texts]


def test_size(tmp_path: Path) -> None:
    """No file is larger than its limit, whatever is written together; a line that
    is larger has a file of its own; and so many old files are kept."""
    file = tmp_path / "log"
    sink = SizedFileSink(str(file), 10, 3)
    sink.write(_lines("1234", "5678"))
    assert file.read_text() == "1234\n5678\n"
    sink.write(_lines("a", "b", "c" * 20, "d"))
    sink.close()
    assert file.read_text() == "d\n"
    assert (tmp_path / "log.1").read_text() == "c" * 20 + "\n"
    assert (tmp_path / "log.2").read_text() == "a\nb\n"
    assert (tmp_path / "log.3").read_text() == "1234\n5678\n"
    again = SizedFileSink(str(file), 10, 3)
    again.write(_lines("\u00e4" * 4))
    again.close()
    assert file.read_text() == "\u00e4" * 4 + "\n"
    assert not (tmp_path / "log.4").exists()


def test_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is time, the file becomes an old one before anything is written."""
    file = tmp_path / "log"
    sink = TimedFileSink(str(file), "H", 1, 3)
    sink.write(_lines("before"))
    sink._file.rolloverAt = 0
    sink.write(_lines("after"))
    sink.close()
    assert file.read_text() == "after\n"
    (old,) = tmp_path.glob("log.*")
    assert old.read_text() == "before\n"
