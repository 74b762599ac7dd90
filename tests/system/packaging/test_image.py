"""deploy/container/Containerfile: the image is built, started and used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.base_image import copy_python
from tests.support.checkout import CHECKOUT
from tests.support.server import ServerProcess, log_records
from tests.support.waiting import wait_for

CONTAINERFILE = CHECKOUT / "deploy/container/Containerfile"
LIMIT = 240
"""Seconds for each command of buildah's."""

PIP = """\
[global]
no-index = yes
find-links = /wheels
no-compile = no
"""
"""pip's configuration in the container. "no" is how it is told not to compile."""

Buildah = Callable[..., str]


@pytest.fixture
def buildah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buildah]:
    """Runs buildah with a store of its own and returns what it prints.

    The test is skipped where it can't make a container.
    """
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed (Debian: apt-get install buildah)")
    settings = tmp_path / "storage.conf"
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    for driver in ("overlay", "vfs"):  # the second is slow, and works anywhere
        settings.write_text(
            f'[storage]\ndriver = "{driver}"\n'
            f'graphroot = "{tmp_path}/{driver}"\nrunroot = "{tmp_path}/run"\n'
        )
        hindrance = _hindrance()
        if hindrance is None:
            break
    else:
        pytest.skip(f"buildah can't run a container here: {hindrance}")
    yield _run
    _run("rmi", "--all", "--force")


def _start(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["buildah", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


def _run(*words: object) -> str:
    done = _start(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def _hindrance() -> str | None:
    """Return why no program can be started in a container, ``None`` if one can."""
    made = _start("from", "scratch")
    if made.returncode:
        return made.stderr.strip()
    name = made.stdout.strip()
    # It is empty: to get as far as not to find the program is all there is.
    said = _start("run", name, "--", "/none").stderr
    _run("rm", name)
    return None if "/none: no such file" in said else said.strip()


@contextmanager
def _container(buildah: Buildah, image: str) -> Iterator[str]:
    name = buildah("from", "--pull-never", image)
    try:
        yield name
    finally:
        buildah("rm", name)


@pytest.fixture
def image(buildah: Buildah, wheelhouse: Path, tmp_path: Path) -> str:
    """The image, built on this machine's Python in place of the one it names."""
    root = tmp_path / "root"
    root.mkdir()
    path = f"{copy_python(root)}:/usr/bin:/bin"
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/pip.conf").write_text(PIP)
    lines = CONTAINERFILE.read_text().splitlines()
    (base,) = {line.split()[1] for line in lines if line.startswith("FROM ")}
    with _container(buildah, "scratch") as container:
        buildah("copy", "-q", container, root, "/")
        buildah("config", "--env", f"PATH={path}", container)
        buildah("commit", "-q", container, base)
    shutil.rmtree(root)
    options = ("--pull-never", "--format", "docker", "-f", CONTAINERFILE)
    wheels = ("--volume", f"{wheelhouse}:/wheels:ro")
    buildah("bud", *options, *wheels, "-t", "qabel-block", CHECKOUT)
    return "localhost/qabel-block"


def _configuration(buildah: Buildah, image: str) -> dict[str, Any]:
    described = json.loads(buildah("inspect", "--type", "image", image))
    return dict(described["Docker"]["config"])


def test_image(buildah: Buildah, image: str) -> None:
    """The image's program, started as the image's user, takes an upload into /data,
    is found healthy by the image's own check, and ends on SIGTERM."""
    configuration = _configuration(buildah, image)
    words = (*configuration["Entrypoint"], "--standalone", "/data")
    with _container(buildah, image) as container:
        server = ServerProcess(
            *("--dummy-auth", "T"), command=("buildah", "run", container, "--", *words)
        )
        with server:
            pid = log_records(server.log())[0]["process"]
            status = Path(f"/proc/{pid}/status").read_text()
            assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
            url = f"{server.url}/api/v0/files/p/a"
            token = {"Authorization": "Token T"}
            assert httpx.put(url, content=b"x", headers=token).status_code == 204
            assert httpx.get(url).content == b"x"
            assert httpx.get(f"{server.url}/readyz").status_code == 200
            kind, *check = configuration["Healthcheck"]["Test"]
            assert kind == "CMD"
            port = f"QABEL_BLOCK_PORT={server.port}"
            buildah("run", "--env", port, container, "--", *check)
            os.kill(pid, signal.SIGTERM)
            assert server.wait() == 0
            wait_for(lambda: not Path(f"/proc/{pid}").exists())
