"""Looks for known vulnerabilities in what is installed beside this Python.

Exits with 1 if there are any. Where nobody can be asked about them, it says so and
exits with 0: whether a network is there must not decide whether a change is good.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

LIMIT = 300
"""Seconds for all of it."""


def look() -> Any:
    """Return what pip-audit has found, ``None`` if it can't tell."""
    program = str(Path(sysconfig.get_path("scripts")) / "pip-audit")
    try:
        done = subprocess.run(
            [program, "--local", "--progress-spinner=off", "--format=json"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None


def judge(found: Any) -> tuple[int, list[str]]:
    """Return an exit status and what to say.

    :param found: what :func:`look` has returned.
    """
    packages = found["dependencies"] if found else []
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return 0, ["pip-audit: no advisories can be had here; nothing was checked"]
    lines = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in "
        + (", ".join(vulnerability["fix_versions"]) or "no version")
        for package in known
        for vulnerability in package["vulns"]
    ]
    summary = (
        f"pip-audit: {len(lines)} known vulnerabilities in {len(known)} packages,"
        f" {len(packages) - len(known)} more not known to it"
    )
    return (1 if lines else 0), [*lines, summary]


def main() -> None:
    status, lines = judge(look())
    print(*lines, sep="\n")
    raise SystemExit(status)


if __name__ == "__main__":
    main()
