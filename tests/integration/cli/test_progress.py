"""How far a command has come, as it is shown."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from pathlib import Path

from qabel_block.cli.progress import LINE_SECONDS, LineProgress
from qabel_block.ledger.migrate import upgrade
from tests.support.tools import COMMAND, tool_environment


class Time:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_lines() -> None:
    """Without a terminal there is a line from time to time, with rate and remaining
    time, and one at the end."""
    stream, time = io.StringIO(), Time()
    progress = LineProgress(stream, time)
    progress.begin("adopt", "objects", 100_000)
    for _ in range(4):
        time.seconds += LINE_SECONDS / 2
        progress.advance(10_000)
    progress.end()
    progress.end()
    assert stream.getvalue().splitlines() == [
        "adopt: 20,000 of 100,000 objects, 2,000/s, 40 s left",
        "adopt: 40,000 of 100,000 objects, 2,000/s, 30 s left",
        "adopt: 40,000 objects in 20.0 s, 2,000/s",
    ]


def test_lines_without_a_total() -> None:
    """If nobody knows how much there is, a line says what is done."""
    stream, time = io.StringIO(), Time()
    progress = LineProgress(stream, time)
    progress.begin("verify", "blobs")
    time.seconds += 2 * LINE_SECONDS
    progress.advance(30)
    assert stream.getvalue() == "verify: 30 blobs, 2/s\n"


def test_bar(tmp_path: Path) -> None:
    """On a terminal there is a bar, which leaves what is said on standard output
    alone."""
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    ours, theirs = pty.openpty()
    words = ("collect", "--psql-dsn", dsn, "--local-storage", str(tmp_path), "--json")
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=tool_environment({"TERM": "xterm", "COLUMNS": "120"}),
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # nobody has it open any more
                break
            shown += piece
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert json.loads(out)["kind"] == "collected"
    assert b"collect" in shown
    assert b"blobs" in shown
    assert b"\x1b[" in shown
