"""Usage events, for whoever wants to account for them (``--dummy-log``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from attrs import frozen


@frozen
class UsageEvent:
    """What a request cost or freed, in bytes.

    :ivar user_id: the owner of the prefix.
    """

    user_id: int
    prefix: str
    stored: int = 0
    freed: int = 0
    downloaded: int = 0


def no_usage_log(_event: UsageEvent) -> None:
    """Keep nothing."""


def usage_log(stream: TextIO) -> Callable[[UsageEvent], None]:
    """Write each event as one line of JSON.

    A reader that goes away disturbs nobody but itself.
    """

    def write(event: UsageEvent) -> None:
        line = {
            "user": event.user_id,
            "prefix": event.prefix,
            "stored": event.stored,
            "freed": event.freed,
            "downloaded": event.downloaded,
        }
        with suppress(OSError, ValueError):
            stream.write(json.dumps(line) + "\n")
            stream.flush()

    return write


def standard_output() -> TextIO:
    """Return the process' standard output, which ``twist`` hides behind its log."""
    assert sys.__stdout__ is not None
    return sys.__stdout__
