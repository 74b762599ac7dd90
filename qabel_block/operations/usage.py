"""Usage events, for whoever wants to account for them (``--dummy-log``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from attrs import frozen

TransferRecorder = AbstractContextManager[None]
"""Records transfers, any number of them at a time: entered when one begins, and left,
with the error if there was one, when it has ended."""

UNRECORDED: TransferRecorder = nullcontext()
"""Records nothing."""


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


def usage_log(write: Callable[[list[str]], None]) -> Callable[[UsageEvent], None]:
    """Return what writes each event as one line of JSON.

    :param write: takes lines, each with its end; neither waits nor raises.
    """

    def record(event: UsageEvent) -> None:
        line = {
            "user": event.user_id,
            "prefix": event.prefix,
            "stored": event.stored,
            "freed": event.freed,
            "downloaded": event.downloaded,
        }
        write([json.dumps(line) + "\n"])

    return record
