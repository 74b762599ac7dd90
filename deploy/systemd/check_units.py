"""Lets systemd-analyze of this machine look at the units.

Not among the tests, which need no package but Python's. Run it with

    python -m pytest deploy/systemd/check_units.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.units import FOLDER, SERVICE, SOCKET, TWISTD

WORST_EXPOSURE = 1.5


@pytest.fixture(params=["twist", "twistd"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The units in a folder, with the programs where they are on this machine."""
    drop_in = tmp_path / TWISTD.relative_to(FOLDER)
    drop_in.parent.mkdir()
    programs = str(Path(sys.executable).parent)
    for unit in (SERVICE, SOCKET, TWISTD):
        text = unit.read_text().replace("/opt/qabel-block/bin", programs)
        if unit is not TWISTD or request.param == "twistd":
            (tmp_path / unit.relative_to(FOLDER)).write_text(text)
    return tmp_path


def test_verify(installed: Path) -> None:
    """It finds nothing to complain about."""
    units = [str(installed / unit.name) for unit in (SERVICE, SOCKET)]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_security(installed: Path) -> None:
    """The service is exposed to little."""
    service = str(installed / SERVICE.name)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", service],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= WORST_EXPOSURE
