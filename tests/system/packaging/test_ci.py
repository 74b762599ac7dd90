"""What CI looks at besides code: advisories, and the changelog."""

from __future__ import annotations

import re
import runpy
import tomllib
from typing import Any

import pytest

from qabel_block import __version__
from tests.support.checkout import CHECKOUT

judge = runpy.run_path(str(CHECKOUT / ".ci/audit.py"))["judge"]

SKIPPED = {"name": "a", "skip_reason": "not found"}
CLEAN = {"name": "b", "version": "1", "vulns": []}
BAD = {
    "name": "c",
    "version": "2",
    "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}, {"id": "X", "fix_versions": []}],
}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        (None, 0, "nothing was checked"),
        ([SKIPPED], 0, "nothing was checked"),
        ([SKIPPED, CLEAN], 0, "0 known vulnerabilities in 1 packages, 1 more"),
        ([CLEAN, BAD], 1, "c 2: CVE-1, fixed in 3"),
        ([BAD], 1, "c 2: X, fixed in no version"),
    ],
)
def test_audit(packages: list[Any] | None, status: int, said: str) -> None:
    """A vulnerability fails, advisories that can't be had do not, and each is
    said."""
    found = None if packages is None else {"dependencies": packages}
    got, lines = judge(found)
    assert got == status
    assert said in "\n".join(lines)


def test_changelog() -> None:
    """This version has its part, and each fragment for the next one is of a kind
    that there is."""
    assert f"\n## {__version__} (" in (CHECKOUT / "CHANGELOG.md").read_text()
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    kinds = {kind["directory"] for kind in settings["tool"]["towncrier"]["type"]}
    name = re.compile(rf"\+[\w-]+\.({'|'.join(kinds)})\.md")
    for fragment in (CHECKOUT / "changelog.d").iterdir():
        assert fragment.name == "README.md" or name.fullmatch(fragment.name), fragment
