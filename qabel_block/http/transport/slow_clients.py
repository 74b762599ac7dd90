"""Cuts off clients that take too long to send a request."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from qabel_block.http.transport.interfaces import (
    BODY_BYTES,
    BODY_SECONDS,
    HEAD_SECONDS,
)


class Stage(Enum):
    """What a connection waits for."""

    NOTHING = "nothing, or the server's own answer"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"


class SlowClientWatch:
    """Limits how long one connection waits for the rest of a head or a body.

    :param call_later: schedules a call, as the reactor's.
    :param cut_off: called when the client is too slow.
    :ivar paused: whether the server makes the client wait at the moment.
    """

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS

    def __init__(
        self, call_later: Callable[..., Any], cut_off: Callable[[], None]
    ) -> None:
        self.paused = False
        self._call_later = call_later
        self._cut_off = cut_off
        self._stage = Stage.NOTHING
        self._timer: IDelayedCall | None = None
        self._received = 0
        self._received_before = 0
        self._was_paused = False

    def received(self, size: int) -> None:
        """Count bytes from the client."""
        self._received += size

    def pause(self) -> None:
        """Take note that the server makes the client wait."""
        self.paused = self._was_paused = True

    def wait_for(self, stage: Stage) -> None:
        """Take note of what the connection waits for now. May be repeated."""
        if stage is not self._stage:
            self._begin(stage)

    def stop(self) -> None:
        """Watch no more until ``wait_for`` is called. May be repeated."""
        self._begin(Stage.NOTHING)

    def _begin(self, stage: Stage) -> None:
        self._stage = stage
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if stage is Stage.HEAD:
            self._timer = self._call_later(self.head_seconds, self._cut_off)
        elif stage is Stage.BODY:
            self._received_before = self._received
            self._was_paused = self.paused
            self._timer = self._call_later(self.body_seconds, self._check_body)

    def _check_body(self) -> None:
        enough = self._received - self._received_before >= BODY_BYTES
        if enough or self._was_paused:
            self._begin(Stage.BODY)
        else:
            self._cut_off()
