"""What a process and its children cost, as the kernel counts it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGESIZE")
_WATCH_SECONDS = 0.05


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            children = (task / "children").read_text().split()
            found.extend(int(child) for child in children)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children, in seconds."""
    total = 0
    for one in tree(pid):
        # Behind the command's name, which may hold blanks and brackets.
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def resident(pid: int) -> int:
    """Return the bytes of a process in memory, as it is now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def peak(pid: int) -> int:
    """Return the most bytes that a process ever had in memory."""
    match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


@define
class Growth:
    """By how many bytes a process has grown at the most."""

    grown: int = 0


@contextmanager
def watched(pid: int) -> Iterator[Growth]:
    """Look often at how much memory a process has while something is done."""
    before = resident(pid)
    growth = Growth()
    over = threading.Event()

    def look() -> None:
        while not over.wait(_WATCH_SECONDS):
            growth.grown = max(growth.grown, resident(pid) - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield growth
    finally:
        over.set()
        thread.join()
