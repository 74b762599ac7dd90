"""A disk that is full, broken or read-only, seen by clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.tools import run_tool
from tests.support.waiting import wait_for
from tests.system.faults.failing_disk import command

SMALL = b"small"
LARGE = b"large" * 100_000
AUTHORIZATION = {"Authorization": "Token T"}


@frozen
class ServerOnDisk:
    """A server on a disk that may fail."""

    server: ServerProcess
    client: httpx.Client
    dsn: str
    directory: Path
    control: Path

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Let the disk fail for a while."""
        self.control.write_text(fault)
        try:
            yield
        finally:
            self.control.write_text("")

    def upload(self, path: str, body: bytes) -> httpx.Response:
        return self.client.post(f"files/p/{path}", content=body)

    def download(self, path: str) -> httpx.Response:
        return self.client.get(f"files/p/{path}")

    def ledger(self) -> list[tuple[object, ...]]:
        """Return all of it that clients can see."""
        return [
            *query(self.dsn, "SELECT path, blob_key, size FROM objects ORDER BY path"),
            *query(self.dsn, "SELECT size FROM users"),
        ]

    def unfinished(self) -> list[Path]:
        return list((self.directory / ".incoming").iterdir())

    def readyz(self) -> httpx.Response:
        return self.client.get(f"{self.server.url}/readyz")


@contextmanager
def place_in(folder: Path, directory: Path) -> Iterator[ServerOnDisk]:
    dsn, control = f"sqlite:///{folder / 'ledger.sqlite'}", folder / "control"
    upgrade(dsn)
    control.write_text("")
    server = ServerProcess(
        *("--psql-dsn", dsn, "--local-storage", str(directory)),
        *("--dummy-auth", "T", "--dummy-cache", "--reserve", "64K"),
        command=command(directory, control),
    )
    server.start()
    url = f"{server.url}/api/v0/"
    with httpx.Client(base_url=url, headers=AUTHORIZATION, timeout=60) as client:
        yield ServerOnDisk(server, client, dsn, directory, control)
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOnDisk]:
    folder = tmp_path_factory.mktemp("disk")
    with place_in(folder, folder / "objects") as place:
        yield place


FULL = ("ENOSPC", "EDQUOT")
FAULTS = [
    *(f"{call} {error}" for error in FULL for call in ("open", "write", "link")),
    *("mkdir ENOSPC", "fsync EDQUOT"),
    *("write EIO", "fsync EIO", "link EIO", "mkdir EIO"),
    *("open EROFS", "open EIO", "open EMFILE"),
]
UNNOTICED = ("link", "mkdir", "fsync")
"""What is not tried to find out whether a disk works."""


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("fault", FAULTS)
def test_uploads(place: ServerOnDisk, fault: str, body: bytes) -> None:
    """An upload that the disk does not take is answered with 507 if it is full and
    503 if it is broken; the ledger and all earlier objects are what they were, and
    nothing is left over. As soon as the disk works, so does everything."""
    call, _, error = fault.partition(" ")
    earlier = {path: place.upload(path, body).headers["etag"] for path in ("a", "b/c")}
    before = place.ledger()
    # Only the last of them needs a folder that is not there yet.
    paths = ("a", "b/c", f"new-{call}/{error}/{len(body)}")
    with place.failing(fault):
        for path in paths[2:] if call == "mkdir" else paths:
            answer = place.upload(path, body + b"new")
            assert answer.status_code == (507 if error in FULL else 503)
            assert answer.status_code == 507 or answer.headers["retry-after"]
        assert place.ledger() == before
        if call not in UNNOTICED:
            ready = place.readyz()
            assert ready.status_code == 503
            assert set(ready.json()) == {"ready", "storage"}
        # What does not need new files goes on.
        assert place.client.delete("files/p/none").status_code == 204
        assert place.client.get("quota").status_code == 200
        if call != "open":
            for path in earlier:
                assert place.download(path).content == body
    wait_for(lambda: place.readyz().status_code == 200, 10)
    for path in earlier:
        assert place.download(path).content == body
    assert place.unfinished() == []
    assert place.upload("a", body + b"new").status_code == 204
    assert place.download("a").content == body + b"new"


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_downloads(place: ServerOnDisk, body: bytes) -> None:
    """A download that the disk does not give is answered with 503."""
    place.upload("a", body)
    with place.failing("pread,preadv EIO"):
        answer = place.download("a")
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert place.client.head("files/p/a").status_code == 200
    assert place.download("a").content == body


def test_garbage_on_a_read_only_disk(place: ServerOnDisk) -> None:
    """A deletion needs only the ledger."""
    place.upload("a", SMALL)
    with place.failing("unlink,write,link EROFS"):
        assert place.client.delete("files/p/a").status_code == 204
        assert place.download("a").status_code == 404


@contextmanager
def small_disk(directory: Path, size: str = "4m") -> Iterator[bool]:
    """Mount a disk of 4 MiB; say whether that was allowed."""
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    mounted = subprocess.run(["mount", *options], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(directory)], check=True)


def test_disk_that_fills_up(tmp_path: Path) -> None:
    """A real disk, where one may be mounted: what has got its 204 stays whole, the
    rest is 507, and room that is made is used."""
    directory = tmp_path / "disk"
    with small_disk(directory) as real, place_in(tmp_path, directory) as place:
        stored = {}
        for number in range(20):
            path, body = f"n/{number}", f"{number} ".encode() * 100_000
            if not real and number == 10:
                place.control.write_text("write ENOSPC")
            answer = place.upload(path, body)
            assert answer.status_code in (204, 507)
            if answer.status_code == 204:
                stored[path] = body
        assert 5 < len(stored) < 20
        assert place.unfinished() == []
        for path, body in stored.items():
            assert place.download(path).content == body
        (total,) = query(place.dsn, "SELECT size FROM users")[0]
        assert total == sum(map(len, stored.values()))
        place.control.write_text("")
        for blob in query(place.dsn, "SELECT blob_key FROM objects LIMIT 3"):
            # As the collector does, an hour after the object was deleted.
            prefix, folder, name = str(blob[0]).split("/")
            (directory / prefix / f"{folder}~" / name).unlink()
        assert place.upload("more", b"x" * 300_000).status_code == 204


def test_reserve(tmp_path: Path) -> None:
    """A disk that uploads have filled, with the ledger on it, keeps the reserve: every
    object can be deleted, also after a restart, and the collector makes room again."""
    directory = tmp_path / "disk"
    with small_disk(directory, "24m") as real:
        if not real:
            pytest.skip("not allowed to mount a disk")
        options = ("--standalone", str(directory / "data"))
        server = ServerProcess(*options, "--dummy-auth", "T")
        stored = []
        with server, _client(server) as client:
            for number in range(80):
                path = f"files/p/{number}"
                answer = client.post(path, content=b"x" * 200_000)
                assert answer.status_code in (204, 507)
                if answer.status_code == 204:
                    stored.append(path)
            assert 15 < len(stored) < 40
            assert shutil.disk_usage(directory).free >= 14 * 2**20
            ready = client.get(f"{server.url}/readyz")
            assert "reserve" in ready.json()["storage"]
            assert client.delete(stored.pop()).status_code == 204
        with server, _client(server) as client:
            for path in stored:
                assert client.get(path).status_code == 200
                assert client.delete(path).status_code == 204
        ended = run_tool("collect", *options, "--grace", "0", "--json", "--quiet")
        assert ended.status == 0
        with server, _client(server) as client:
            assert client.post("files/p/a", content=b"x" * 2_000_000).is_success
            assert client.get(f"{server.url}/readyz").status_code == 200


def _client(server: ServerProcess) -> httpx.Client:
    url = f"{server.url}/api/v0/"
    return httpx.Client(base_url=url, headers=AUTHORIZATION, timeout=60)
