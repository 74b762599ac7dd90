"""When lines are written, and to which file."""

from __future__ import annotations

import logging
import os
import re
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define, field

from qabel_block.log.formats import TextFormatter
from qabel_block.log.handlers import (
    BatchHandler,
    dropped_lines,
    reopen_logs,
    write_in_background,
)
from qabel_block.log.sinks import DescriptorSink, SizedFileSink, TimedFileSink, pack
from qabel_block.log.writer import MAX_WAITING
from tests.unit.log.test_formats import access

_DROPPED = re.compile(rb"(\d+) lines of the log were dropped")


@define
class Turns:
    """A reactor of which the test decides when the next turn is."""

    waiting: list[Callable[[], None]] = field(factory=list)
    beginning: list[Callable[[], None]] = field(factory=list)
    ending: list[Callable[[], None]] = field(factory=list)

    def callLater(self, seconds: float, function: Callable[[], None]) -> None:
        assert seconds == 0
        self.waiting.append(function)

    def callWhenRunning(self, function: Callable[[], None]) -> None:
        self.beginning.append(function)

    def addSystemEventTrigger(
        self, phase: str, event: str, function: Callable[[], None]
    ) -> None:
        assert (phase, event) == ("after", "shutdown")
        self.ending.append(function)

    def begin(self) -> None:
        for function in self.beginning:
            function()

    def end(self) -> None:
        for function in self.ending:
            function()

    def turn(self) -> None:
        waiting, self.waiting = self.waiting, []
        for function in waiting:
            function()


@define
class Written:
    """A sink that keeps what is written."""

    text: str = ""

    def write(self, lines: list[str]) -> None:
        self.text += "".join(lines)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Full(Written):
    """A disk that is full."""

    def write(self, lines: list[str]) -> None:
        raise OSError("no space left")


@pytest.fixture
def sink() -> Written:
    return Written()


@pytest.fixture
def only_handler() -> Iterator[Callable[[BatchHandler], BatchHandler]]:
    """Makes a handler the only one there is, of a log at level INFO."""
    root = logging.getLogger()
    before, level = root.handlers, root.level

    def install(handler: BatchHandler) -> BatchHandler:
        handler.setFormatter(TextFormatter())
        root.handlers = [handler]
        root.setLevel("INFO")
        return handler

    yield install
    for handler in root.handlers:
        handler.close()
    root.handlers = before
    root.setLevel(level)


@pytest.fixture
def handler(
    only_handler: Callable[[BatchHandler], BatchHandler], sink: Written
) -> BatchHandler:
    return only_handler(BatchHandler(sink))


def _ask(path: str) -> None:
    logging.getLogger("qabel_block.access").handle(access(path))


def _written(handler: BatchHandler, sink: Written) -> str:
    """Return what has been written once the thread has nothing more to write."""
    handler.writer.stop()
    handler.writer.start()
    return sink.text


def test_at_once(handler: BatchHandler, sink: Written) -> None:
    """Before the reactor runs, nothing waits, and there is no thread that a fork
    would lose."""
    write_in_background(Turns())
    _ask("/a")
    assert "/a" in sink.text


def test_in_turns(handler: BatchHandler, sink: Written) -> None:
    """Requests of one turn are written together, in order, in the next."""
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    for path in ("/a", "/b", "/c"):
        _ask(path)
    assert _written(handler, sink) == ""
    assert len(turns.waiting) == 1
    turns.turn()
    assert [line.split()[5] for line in _written(handler, sink).splitlines()] == [
        *("/a", "/b", "/c")
    ]
    _ask("/d")
    turns.turn()
    assert "/d" in _written(handler, sink)


def test_events_do_not_wait(handler: BatchHandler, sink: Written) -> None:
    """Everything else is written at once, after what has waited before it."""
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    _ask("/a")
    logging.getLogger("test").error("trouble")
    lines = _written(handler, sink).splitlines()
    assert "/a" in lines[0]
    assert "trouble" in lines[1]
    turns.turn()
    assert len(_written(handler, sink).splitlines()) == 2


def test_nothing_is_lost_at_the_end(handler: BatchHandler, sink: Written) -> None:
    """What waits when the reactor ends is written then, and what comes after that
    at once."""
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    _ask("/a")
    turns.end()
    assert "/a" in sink.text
    _ask("/b")
    assert "/b" in sink.text


def test_exit_without_an_end(handler: BatchHandler, sink: Written) -> None:
    """What Python does at its exit writes what waits."""
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    _ask("/a")
    logging.shutdown()
    assert "/a" in sink.text


def test_full_disk(
    only_handler: Callable[[BatchHandler], BatchHandler],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A log that can't be written raises nothing and says so once."""
    only_handler(BatchHandler(_Full()))
    for _ in range(10):
        _ask("/a")
        logging.getLogger("test").error("trouble")
    (line,) = capfd.readouterr().err.splitlines()
    assert line == "qabel-block: the log is not written: OSError"


def test_record_that_cannot_be_formatted(handler: BatchHandler, sink: Written) -> None:
    """It is named in the log, without a traceback."""
    record = logging.LogRecord("test", logging.ERROR, "", 0, "%d", ("no",), None)
    handler.handle(record)
    assert "a record of test can't be formatted: TypeError" in sink.text
    assert "Traceback" not in sink.text


def test_pipe_that_nobody_reads(
    only_handler: Callable[[BatchHandler], BatchHandler],
) -> None:
    """Nobody waits for it: lines wait up to a bound, others are dropped and counted,
    and once somebody reads, their numbers are written where they are missing."""
    reading, writing = os.pipe()
    handler = only_handler(BatchHandler(DescriptorSink(writing)))
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    line = "x" * 1000
    for _ in range(2 * MAX_WAITING // len(line)):
        logging.getLogger("test").error(line)
    missing = dropped_lines()
    assert missing > MAX_WAITING // len(line) // 2
    received = b""
    while sum(map(int, _DROPPED.findall(received))) < missing:
        assert select.select([reading], [], [], 30)[0]
        received += os.read(reading, 2**16)
    assert sum(map(int, _DROPPED.findall(received))) == missing
    assert received.count(line.encode()) == 2 * MAX_WAITING // len(line) - missing
    logging.getLogger("test").error("read again")
    turns.end()
    assert b"read again" in os.read(reading, 2**16)
    handler.close()
    os.close(reading)
    os.close(writing)


def test_end_with_a_pipe_that_nobody_reads(
    only_handler: Callable[[BatchHandler], BatchHandler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The end of the process does not wait for it for ever."""
    monkeypatch.setattr("qabel_block.log.writer.STOP_SECONDS", 0.1)
    reading, writing = os.pipe()
    only_handler(BatchHandler(DescriptorSink(writing)))
    turns = Turns()
    write_in_background(turns)
    turns.begin()
    for _ in range(100):
        logging.getLogger("test").error("x" * 1000)
    turns.end()
    logging.getLogger("test").error("too late")
    os.close(reading)  # which ends the thread's wait
    logging.shutdown()


def test_renamed_file(
    only_handler: Callable[[BatchHandler], BatchHandler], tmp_path: Path
) -> None:
    """After logrotate has renamed a file, lines go into a new one, which is there
    after SIGHUP even if nothing is logged."""
    for sink in (
        SizedFileSink(str(tmp_path / "sized"), 10**6, 1),
        TimedFileSink(str(tmp_path / "timed"), "D", 1, 1),
    ):
        only_handler(BatchHandler(sink))
        file = Path(sink._file.baseFilename)
        _ask("/a")
        file.rename(f"{file}-old")
        _ask("/b")
        assert "/b" in file.read_text()
        assert "/b" not in Path(f"{file}-old").read_text()
        file.unlink()
        reopen_logs()
        assert file.read_text() == ""


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


def test_pipe_of_many_processes() -> None:
    """Lines are written in pieces that a pipe takes at once, none of them cut."""
    lines = [b"%d" % number * 300 + b"\n" for number in range(9)]
    lines.insert(3, b"long" * select.PIPE_BUF + b"\n")
    pieces = list(pack(lines, select.PIPE_BUF))
    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert [len(piece) > select.PIPE_BUF for piece in pieces] == [False, True, False]
