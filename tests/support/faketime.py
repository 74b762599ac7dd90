"""A wall clock that can be set, for a process: Debian's libfaketime."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

_LIBRARIES = "usr/lib/*/faketime/libfaketimeMT.so.1"
_LIBRARY = next(iter(sorted(Path("/").glob(_LIBRARIES))), None)

HOUR = 3600
JUMPS = (-HOUR, 0, 2 * HOUR)
"""Seconds by which a clock may be off."""


class WallClock:
    """What a process takes for the time of day. Its monotonic clock goes on.

    Where there is no libfaketime the clock is right, whatever it is set to.

    :param file: where it is told how far off the clock is.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set_off(0)

    @staticmethod
    def required(file: Path) -> WallClock:
        """Return a clock; skip the test where it can't be set."""
        if _LIBRARY is None:
            pytest.skip("needs libfaketime (Debian: apt install libfaketime)")
        return WallClock(file)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that has this clock."""
        if _LIBRARY is None:
            return {}
        return {
            "LD_PRELOAD": str(_LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_off(self, seconds: int) -> None:
        """Set the clock so far off the real time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)

    def jump(self, chance: random.Random) -> None:
        """Set the clock back, forward or right."""
        self.set_off(chance.choice(JUMPS))
