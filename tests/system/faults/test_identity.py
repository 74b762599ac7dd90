"""A storage that is there and is the wrong one: nothing is written into it, and the
server says what to do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from qabel_block.names import IDENTITY
from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.tools import Ended, run_tool

AUTHORIZATION = {"Authorization": "Token T", "Accept": "*/*"}
BODIES = (b"small", b"large" * 100_000)


@frozen
class MountedStorage:
    """A ledger and a directory.

    :ivar directory: the mount point.
    """

    dsn: str
    directory: Path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--psql-dsn", self.dsn, "--local-storage", str(self.directory))

    @contextmanager
    def serving(self, *options: str) -> Iterator[httpx.Client]:
        chosen = options or self.options
        server = ServerProcess(*chosen, "--dummy-auth", "T", "--dummy-cache")
        with (
            server,
            httpx.Client(
                base_url=server.url, headers=AUTHORIZATION, timeout=60
            ) as client,
        ):
            yield client
        assert "Traceback" not in server.log()

    def tool(self, *words: str) -> Ended:
        return run_tool(*words, *self.options, "--json", "--quiet")

    def files(self) -> list[str]:
        return sorted(str(path) for path in self.directory.rglob("*"))

    def objects(self) -> int:
        return len(query(self.dsn, "SELECT path FROM objects"))


@pytest.fixture
def place(tmp_path: Path) -> MountedStorage:
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    return MountedStorage(dsn, tmp_path / "objects")


def upload(client: httpx.Client, path: str, body: bytes = b"x") -> httpx.Response:
    return client.post(f"/api/v0/files/p/{path}", content=body)


def download(client: httpx.Client, path: str) -> httpx.Response:
    return client.get(f"/api/v0/files/p/{path}")


def fill(client: httpx.Client) -> None:
    for number in range(20):
        assert upload(client, str(number)).status_code == 204


def refused(client: httpx.Client, place: MountedStorage) -> None:
    """See that nothing is taken and nothing is given, and that it is said why."""
    before = place.files(), place.objects()
    for body in BODIES:
        answer = upload(client, "0", body)
        assert answer.status_code == 503
        assert "storage: it" in answer.json()["detail"]
        assert "retry-after" in answer.headers
    assert download(client, "0").status_code == 503
    ready = client.get("/readyz")
    assert (ready.status_code, set(ready.json())) == (503, {"ready", "storage"})
    assert (place.files(), place.objects()) == before


def empty(place: MountedStorage, _elsewhere: Path) -> None:
    """The disk is not mounted."""
    place.directory.mkdir()


def missing(place: MountedStorage, _elsewhere: Path) -> None:
    """Not even the mount point is there."""


def foreign(place: MountedStorage, elsewhere: Path) -> None:
    """Another installation's disk is mounted."""
    other = MountedStorage(f"sqlite:///{elsewhere}.sqlite", place.directory)
    upgrade(other.dsn)
    with other.serving() as client:
        assert upload(client, "0").status_code == 204


@pytest.mark.parametrize("wrong", [empty, missing, foreign])
def test_wrong_directory(
    place: MountedStorage, tmp_path: Path, wrong: Callable[[MountedStorage, Path], None]
) -> None:
    """A server that finds another directory than the ledger's does not use it, nor do
    the tools, and all is well again without a restart when the right one is back."""
    with place.serving() as client:
        fill(client)
    disk = place.directory.rename(tmp_path / "disk")
    wrong(place, tmp_path / "other")
    with place.serving() as client:
        refused(client, place)
        for command in ("verify", "collect", "adopt", "rebuild"):
            ended = place.tool(command)
            assert (ended.status, ended.of_kind("dropped")) == (2, [])
            assert ended.err.count("\n") == 1
        shutil.rmtree(place.directory, ignore_errors=True)
        disk.rename(place.directory)
        assert client.get("/readyz").status_code == 200
        assert download(client, "19").content == b"x"
        assert upload(client, "0").status_code == 204
    assert place.tool("verify").status == 0


def test_wrong_directory_behind_nginx(place: MountedStorage, tmp_path: Path) -> None:
    """nginx is not told to send a file from a directory that is not the ledger's, also
    when that is replaced under a server that runs: it would answer that there is no
    such object."""
    with place.serving(*place.options, "--x-accel-redirect", "/blobs") as client:
        fill(client)
        assert "x-accel-redirect" in download(client, "0").headers
        disk = place.directory.rename(tmp_path / "disk")
        place.directory.mkdir()
        refused(client, place)
        place.directory.rmdir()
        disk.rename(place.directory)
        assert "x-accel-redirect" in download(client, "0").headers


def test_directory_from_before(place: MountedStorage) -> None:
    """A directory that has no identity yet gets one if the ledger's blobs are in it."""
    with place.serving() as client:
        fill(client)
    identity = (place.directory / IDENTITY).read_text()
    (place.directory / IDENTITY).unlink()
    with place.serving() as client:
        assert client.get("/readyz").status_code == 200
        assert upload(client, "0").status_code == 204
    assert (place.directory / IDENTITY).read_text() == identity


def test_temporary_storage(place: MountedStorage) -> None:
    """``--dummy`` does not go with a ledger that remembers."""
    with place.serving() as client:
        fill(client)
    with place.serving("--psql-dsn", place.dsn, "--dummy") as client:
        refused(client, place)
    with place.serving("--dummy") as client:
        assert upload(client, "0").status_code == 204
    assert place.objects() == 20


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True).returncode == 0


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", str(directory)], check=True)


def test_disk_that_is_unmounted(place: MountedStorage) -> None:
    """A disk that is unmounted, or replaced, under a server that runs is noticed by the
    next upload, however empty or full the other one is."""
    place.directory.mkdir()
    if not _mount("-t", "tmpfs", "disk", str(place.directory)):
        pytest.skip("not allowed to mount a disk")
    mounted = 1
    try:
        with place.serving() as client:
            fill(client)
            copy = place.directory.with_name("copy")
            shutil.copytree(place.directory, copy)
            _mount("-t", "tmpfs", "another", str(place.directory))
            mounted += 1
            (place.directory / ".incoming").mkdir()
            for body in BODIES:
                assert upload(client, "0", body).status_code == 503
            assert download(client, "0").status_code == 503
            assert client.get("/readyz").status_code == 503
            assert place.files() == [str(place.directory / ".incoming")]
            _unmount(place.directory)
            mounted -= 1
            assert upload(client, "0").status_code == 204
            _unmount(place.directory)
            mounted -= 1
            for body in BODIES:
                assert upload(client, "0", body).status_code == 503
            assert download(client, "0").status_code == 503
            assert place.files() == []
            # Restored from a backup, it is the installation's as well.
            shutil.copytree(copy, place.directory, dirs_exist_ok=True)
            assert upload(client, "0").status_code == 204
            assert download(client, "19").content == b"x"
    finally:
        for _ in range(mounted):
            _unmount(place.directory)
