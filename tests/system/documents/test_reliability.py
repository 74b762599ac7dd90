"""docs/reliability.md: its commands run, in a short form."""

from __future__ import annotations

from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.documents import CommandsOf
from tests.support.shell import Shell
from tests.system.documents.excused import BLOCKS


def test_reliability(tmp_path: Path) -> None:
    """Each is accepted, and finds nothing."""
    reliability = CommandsOf.document("docs/reliability.md", BLOCKS)
    shell = Shell(tmp_path, {"--count 200": "--count 1", "=50000": "=20"})
    for command in ("python -m tests", "QABEL_BLOCK_TEST_REQUESTS"):
        shell.run(reliability.take(command), folder=CHECKOUT)
    # Not even its beginning is short.
    soak = reliability.take("python -m bench.soak").strip()
    assert "--minutes" in shell.run(f"{soak} --help", folder=CHECKOUT)
    assert reliability.left == []
