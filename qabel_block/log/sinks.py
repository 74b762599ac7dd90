"""Where lines go: a file descriptor, or a file that is rotated.

All calls may block.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from logging.handlers import RotatingFileHandler, TimedRotatingFileHandler
from select import PIPE_BUF
from typing import Protocol, TextIO


def pack(lines: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join lines to pieces of at most ``size`` bytes, or of one line."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > size:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


class Sink(Protocol):
    """Takes whole lines.

    Raises ``OSError`` or ``ValueError`` if it can't write; the lines are lost then.
    """

    def write(self, lines: list[str]) -> None:
        """Write lines, each with its end."""

    def reopen(self) -> None:
        """Open the file of this name again, if it has been renamed or removed."""

    def close(self) -> None:
        """Release what it holds."""


class DescriptorSink:
    """An open file descriptor, such as that of stderr.

    Python's buffered streams are passed by: a thread that hangs in one of them
    would keep its lock, on which the interpreter fails when it exits.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        encoded = [line.encode("utf-8", "backslashreplace") for line in lines]
        # Other processes write to the same pipe: no line is to be cut by theirs.
        for piece in pack(encoded, PIPE_BUF):
            data = memoryview(piece)
            while data:
                data = data[os.write(self._descriptor, data) :]

    def reopen(self) -> None:
        """See :meth:`Sink.reopen`. A descriptor has no name."""

    def close(self) -> None:
        """See :meth:`Sink.close`. Whoever opened it closes it."""


class SizedFileSink:
    """A file that is rotated before it has more than so many bytes.

    :param backups: how many rotated files are kept.
    """

    def __init__(self, path: str, max_size: int, backups: int) -> None:
        self._file = RotatingFileHandler(path, "a", max_size, backups, "utf-8")
        self._size = _stream(self._file).tell()
        self._limit = max_size

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        self.reopen()
        fitting: list[str] = []
        for line in lines:
            size = len(line) if line.isascii() else len(line.encode("utf-8"))
            if self._size and self._size + size > self._limit:
                _write(self._file, fitting)
                fitting = []
                self._file.doRollover()
                self._size = 0
            fitting.append(line)
            self._size += size
        _write(self._file, fitting)

    def reopen(self) -> None:
        """See :meth:`Sink.reopen`."""
        if _reopened(self._file):
            self._size = _stream(self._file).tell()

    def close(self) -> None:
        """See :meth:`Sink.close`."""
        self._file.close()


class TimedFileSink:
    """A file that is rotated from time to time."""

    def __init__(self, path: str, when: str, interval: int, backups: int) -> None:
        self._file = TimedRotatingFileHandler(path, when, interval, backups, "utf-8")

    def write(self, lines: list[str]) -> None:
        """See :meth:`Sink.write`."""
        self.reopen()
        if time.time() >= self._file.rolloverAt:
            self._file.doRollover()
        _write(self._file, lines)

    def reopen(self) -> None:
        """See :meth:`Sink.reopen`."""
        _reopened(self._file)

    def close(self) -> None:
        """See :meth:`Sink.close`."""
        self._file.close()


def _stream(file: logging.FileHandler) -> TextIO:
    if file.stream is None:
        raise ValueError("it is closed")
    return file.stream


def _reopened(file: logging.FileHandler) -> bool:
    """Open a file again if its name leads elsewhere by now, as after a rotation by
    logrotate; say whether that was so."""
    opened = os.fstat(_stream(file).fileno())
    try:
        named = os.stat(file.baseFilename)
    except FileNotFoundError:
        pass
    else:
        if os.path.samestat(opened, named):
            return False
    file.close()
    file.stream = file._open()
    return True


def _write(file: logging.FileHandler, lines: list[str]) -> None:
    if lines:
        stream = _stream(file)
        stream.write("".join(lines))
        stream.flush()
