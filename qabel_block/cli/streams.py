"""Standard streams that are closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_GETFL, fcntl
from typing import TextIO

_STREAMS = (
    ("stdin", os.O_RDONLY, "r"),
    ("stdout", os.O_RDONLY, "w"),
    ("stderr", os.O_WRONLY, "w"),
)


class OutputFailed(Exception):
    """Standard output does not take what is written; the message says why.

    :ivar unread: whether that is because nobody reads it any more.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror}")
        self.unread = isinstance(error, BrokenPipeError)


def open_closed_streams() -> None:
    """Put something in the place of each standard stream that is closed.

    Nothing can be read, warnings are lost, and results can't be written. Otherwise
    the first files and sockets that are opened would become these streams.
    """
    for number, (name, flags, mode) in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            _replace(number, flags)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def check_output() -> None:
    """Find out whether standard output is open for writing.

    :raises OutputFailed: if it is not.
    """
    with writing():
        if fcntl(1, F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(0, "it is not open for writing")


@contextmanager
def writing() -> Iterator[None]:
    """Write to standard output, which may fail. Nothing more is written then.

    :raises OutputFailed: if it does.
    """
    try:
        yield
    except OSError as error:
        _discard(sys.stdout)
        raise OutputFailed(error) from error


def flush_output() -> None:
    """Write what is not written yet.

    :raises OutputFailed: if that fails.
    """
    with writing():
        sys.stdout.flush()


def write_unless_full(stream: TextIO, text: str) -> None:
    """Write at once to a stream that is not worth failing for."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Drop all that is written to a stream from now on: at its end the interpreter
    would complain once more."""
    _replace(stream.fileno(), os.O_WRONLY)


def _replace(number: int, flags: int) -> None:
    nothing = os.open(os.devnull, flags)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
