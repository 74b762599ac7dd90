"""docs/reliability.md: its commands are there, and know their options.

What they do in full takes long; the suite has the short forms of all of them.
"""

from __future__ import annotations

import shlex
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
    """Each program says what its options are, each test and variable is there."""
    reliability = CommandsOf.document("docs/reliability.md", BLOCKS)
    shell = Shell(tmp_path)
    for command, option in PROGRAMS.items():
        text = reliability.take(command).strip()
        assert option in shell.run(f"{text} --help", folder=CHECKOUT)
    for variable in VARIABLES:
        for line in reliability.take(f"{variable}=").splitlines():
            words = [word for word in shlex.split(line) if word.startswith("tests/")]
            assert words
            for word in words:
                assert (CHECKOUT / word).exists()
        assert _is_read(variable)
    assert reliability.left == []


def _is_read(variable: str) -> bool:
    """Say whether any test heeds a variable."""
    files = (CHECKOUT / "tests").rglob("*.py")
    return any(f'get("{variable}"' in file.read_text() for file in files)
