"""Feeds parsers with what a fuzzer finds out about their branches.

    pip install '.[fuzz]' && python -m tests.system.faults.fuzzing --runs 1000000

feeds each with so many inputs. What one of them stumbles over is printed, and the
status is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

from tests.system.faults.parsers import PARSERS

SAID = 5000
"""Characters of what a parser's process has said that are worth reading."""

_FED = """
import sys, atheris
with atheris.instrument_imports(include=["qabel_block", "twisted.web", "werkzeug"]):
    from tests.system.faults.parsers import PARSERS
name, *options = sys.argv[1:]
atheris.Setup(["fuzzing", *options], PARSERS[name][0])
atheris.Fuzz()
"""
"""Run in a process of its own, which this ends."""


def holds(name: str, runs: int) -> bool:
    """Feed one parser; say whether it held, and if not, what it has stumbled over."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(PARSERS[name][1]):
            Path(corpus, str(number)).write_bytes(seed)
        options = (f"-runs={runs}", "-max_len=600", f"-artifact_prefix={corpus}/")
        command = (sys.executable, "-c", _FED, name, *options, corpus)
        done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        sys.stdout.write(said[-SAID:])
    return done.returncode == 0


def main() -> int:
    """Feed all parsers; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.faults.fuzzing")
    parser.add_argument("--runs", type=int, default=1_000_000, help="for each")
    parser.add_argument("--only", choices=PARSERS, nargs="+", default=list(PARSERS))
    arguments = parser.parse_args()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        held = threads.map(holds, arguments.only, repeat(arguments.runs))
        failed = [
            name for name, well in zip(arguments.only, held, strict=True) if not well
        ]
    sys.stdout.write(
        f"{arguments.runs} inputs for each of {len(arguments.only)} parsers:"
        f" {', '.join(failed) or 'none'} stumbled\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
