"""A small disk of its own that uploads have filled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess
from tests.support.tools import run_tool

MEBIBYTE = 1024**2
AUTHORIZATION = {"Authorization": "Token T"}


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MiB, of each kind that can be mounted here."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    else:
        image = tmp_path / "image"
        image.write_bytes(b"")
        with image.open("r+b") as file:
            file.truncate(48 * MEBIBYTE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
        mount = ["mount", "-o", "loop", str(image), str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"{request.param} can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("ab", buffering=0) as file:
        for size in (MEBIBYTE, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def test_deleting_on_a_full_disk(disk: Path) -> None:
    """On a disk without any room objects can be read and deleted, also after a restart,
    and garbage be collected; then there is room for uploads again, and for the next
    time."""
    options = ("--standalone", str(disk / "data"), "--dummy-auth", "T")
    places = ("--standalone", str(disk / "data"), "--json")
    server = ServerProcess(*options)
    with httpx.Client(headers=AUTHORIZATION, timeout=60) as client:

        def url(number: int) -> str:
            return f"{server.url}/api/v0/files/p/blocks/{number}"

        with server:
            stored = []
            for number in range(60):
                if client.post(url(number), content=bytes(MEBIBYTE)).is_success:
                    stored.append(number)
            assert len(stored) > 5
            fill(disk / "filler")
            assert client.post(url(99), content=b"x" * 100_000).status_code == 507
            for number in stored[:5]:
                assert client.delete(url(number)).status_code == 204
            collected = run_tool("collect", *places, "--grace", "0")
            assert collected.of_kind("collected")[0]["blobs"] >= 5
        fill(disk / "filler")
        with server:
            for number in stored[5:]:
                assert client.get(url(number)).content == bytes(MEBIBYTE)
                assert client.delete(url(number)).status_code == 204
                assert client.get(url(number)).status_code == 404
            quota = client.get(f"{server.url}/api/v0/quota").json()
            assert quota["size"] == 0
        collected = run_tool("collect", *places, "--grace", "0")
        assert collected.status == 0, collected.err
        assert collected.of_kind("collected")[0]["blobs"] >= len(stored) - 5
        (disk / "filler").unlink()
        with server:
            assert client.post(url(1), content=bytes(MEBIBYTE)).status_code == 204
            assert client.delete(url(1)).status_code == 204
            assert (disk / "data/ledger.sqlite-ballast").stat().st_size > MEBIBYTE


SMALL = 100


def test_room_that_others_take(disk: Path) -> None:
    """Whoever fills the disk again after the ballast was given up keeps nobody from
    deleting all the rest."""
    server = ServerProcess("--standalone", str(disk / "data"), "--dummy-auth", "T")
    with httpx.Client(headers=AUTHORIZATION, timeout=60) as client:

        def url(number: int) -> str:
            return f"{server.url}/api/v0/files/p/blocks/{number}"

        with server:
            for number in range(SMALL):
                assert client.post(url(number), content=b"x").status_code == 204
        with server:  # with a log that is as short as can be
            for number in range(SMALL):
                fill(disk / "filler")
                assert client.delete(url(number)).status_code == 204
            assert not (disk / "data/ledger.sqlite-ballast").exists()
