"""What installing needs: the package's wheel, made once, and those it requires."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT

BUILD_REQUIREMENTS = ("setuptools>=77",)
_LEFTOVERS = shutil.ignore_patterns("build", "*.egg-info", ".[!c]*", "__pycache__")


def copy_checkout(target: Path) -> Path:
    """Copy what is in the repository to a directory that is not there yet.

    A build leaves files in its source, where another would stumble over them.
    """
    shutil.copytree(CHECKOUT, target, ignore=_LEFTOVERS)
    return target


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels of all that the package requires, and below ``own``
    that of the package itself.

    All test processes share one: asking a package index takes longest.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "wheelhouse"
    with (shared / "wheelhouse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fetched = shared / "wheelhouse.part"
            command = [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(fetched)]
            source = copy_checkout(shared / "wheelhouse.source")
            subprocess.run(
                [*command, str(source), *BUILD_REQUIREMENTS],
                check=True,
                capture_output=True,
            )
            (own,) = fetched.glob("qabel_block-*")
            (fetched / "own").mkdir()
            own.rename(fetched / "own" / own.name)
            fetched.rename(folder)
    return folder


@pytest.fixture(scope="session")
def own_wheel(wheelhouse: Path) -> Path:
    """The wheel of the checkout."""
    (wheel,) = (wheelhouse / "own").iterdir()
    return wheel


@pytest.fixture(scope="session")
def pip_environment(wheelhouse: Path) -> dict[str, str]:
    """Variables with which pip installs from there, and compiles no more than is
    imported later."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "PIP_NO_COMPILE": "no",  # which is how pip is told not to
    }
