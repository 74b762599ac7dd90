"""A wall clock that can be set, for a process: Debian's libfaketime."""

from __future__ import annotations

from pathlib import Path

import pytest

_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class WallClock:
    """What a process takes for the time of day. Its monotonic clock goes on.

    Skips the test where there is no libfaketime.

    :param file: where it is told how far off the clock is.
    """

    def __init__(self, file: Path) -> None:
        found = sorted(Path("/").glob(_LIBRARIES.removeprefix("/")))
        if not found:
            pytest.skip("needs libfaketime (Debian: apt install libfaketime)")
        self._library = found[0]
        self._file = file
        self.set_off(0)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that has this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_off(self, seconds: int) -> None:
        """Set the clock so far off the real time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)
