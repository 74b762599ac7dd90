"""Lets systemd-analyze of this machine look at the units.

Not among the tests, which need no package but Python's. Run it with

    python -m pytest -n 0 deploy/systemd/check_units.py
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.units import FOLDER, SERVICE, SOCKET, TWISTD, VERIFY, VERIFY_TIMER

WORST_EXPOSURE = 1.5


@pytest.fixture(params=["twist", "twistd"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The units in a folder, with programs for systemd to find."""
    drop_in = tmp_path / TWISTD.relative_to(FOLDER)
    drop_in.parent.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("twist", "twistd", "qabel-block"):
        (programs / name).touch(mode=0o755)
    for unit in (SERVICE, SOCKET, TWISTD, VERIFY, VERIFY_TIMER):
        text = unit.read_text().replace("/opt/qabel-block/bin", str(programs))
        if unit is not TWISTD or request.param == "twistd":
            (tmp_path / unit.relative_to(FOLDER)).write_text(text)
    return tmp_path


def test_verify(installed: Path) -> None:
    """It finds nothing to complain about."""
    units = [
        str(installed / unit.name) for unit in (SERVICE, SOCKET, VERIFY, VERIFY_TIMER)
    ]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", [SERVICE, VERIFY], ids=lambda unit: unit.stem)
def test_security(installed: Path, unit: Path) -> None:
    """The services are exposed to little."""
    service = str(installed / unit.name)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", service],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) <= WORST_EXPOSURE
