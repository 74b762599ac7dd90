"""docs/reliability.md: its commands are there, and know their options.

What they do in full takes long; the suite has the short forms of all of them.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.documents import CommandsOf
from tests.support.shell import Shell
from tests.system.documents.excused import BLOCKS

PROGRAMS = {
    "python -m bench.drill": "--no-pairs",
    "python -m bench.soak": "--minutes",
    "python -m tests.system.faults.histories": "--count",
}
"""By their beginning, with an option of each."""

VARIABLES = (
    "QABEL_BLOCK_TEST_ERASED",
    "QABEL_BLOCK_TEST_KILLS",
    "QABEL_BLOCK_TEST_LOAD",
    "QABEL_BLOCK_TEST_REQUESTS",
)


def test_reliability(tmp_path: Path) -> None:
    """Each program says what its options are, each test is found."""
    reliability = CommandsOf.document("docs/reliability.md", BLOCKS)
    shell = Shell(tmp_path)
    for command, option in PROGRAMS.items():
        text = reliability.take(command).strip()
        assert option in shell.run(f"{text} --help", folder=CHECKOUT)
    for variable in VARIABLES:
        text = reliability.take(f"{variable}=")
        collected = text.replace("pytest", "pytest --collect-only -q")
        for line in collected.splitlines():
            assert "::test_" in shell.run(line, folder=CHECKOUT)
    assert reliability.left == []
