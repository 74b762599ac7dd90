"""What is installed from a wheel works as the checkout does."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory,
    own_wheel: Path,
    pip_environment: dict[str, str],
) -> Path:
    """A virtual environment with nothing but the wheel and what it requires."""
    home = tmp_path_factory.mktemp("wheel")
    venv.create(home)
    pip = (sys.executable, "-m", "pip", "--python", home)
    _run(*pip, "install", own_wheel, **pip_environment)
    return home


def _run(*command: object, **variables: str) -> str:
    """Run a command away from the checkout and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        cwd="/",
        env={**environment, **variables},
    ).stdout


def test_standalone_from_a_wheel(environment: Path, tmp_path: Path) -> None:
    """`pip wheel .`, installed in an empty environment and run from another
    folder: the plugin is found, the ledger migrates itself, objects are kept."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    command = (str(environment / "bin/twist"), "qabel-block")
    server = ServerProcess(*options, command=command, environment={"PYTHONPATH": ""})
    auth = {"Authorization": "Token T"}
    with server:
        url = f"{server.url}/api/v0/files/p/a"
        assert httpx.post(url, content=b"x", headers=auth).status_code == 204
    with server:
        url = f"{server.url}/api/v0/files/p/a"
        assert httpx.get(url).content == b"x"


def test_help_from_a_wheel(environment: Path) -> None:
    """`twist --help` lists the plugin, `twistd` knows it too."""
    assert "qabel-block" in _run(environment / "bin/twist", "--help")
    assert "--standalone" in _run(environment / "bin/twistd", "qabel-block", "--help")


def test_command_from_a_wheel(environment: Path, tmp_path: Path) -> None:
    """The console command is installed, and finds the migrations."""
    command = environment / "bin/qabel-block"
    assert "is at revision" in _run(command, "migrate", "--standalone", tmp_path / "h")


def test_wheel_holds_no_tests(own_wheel: Path) -> None:
    """The wheel installs the package, the plugin and nothing else."""
    top = {name.split("/")[0] for name in zipfile.ZipFile(own_wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "qabel_block",
        "twisted",
    }
