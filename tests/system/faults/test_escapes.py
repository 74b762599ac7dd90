"""Nothing outside the storage directory is read, written or deleted, whatever
somebody has put into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet import reactor

from qabel_block.ledger.migrate import upgrade
from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.threads import ThreadPool
from tests.support.database import query
from tests.support.server import ServerProcess

AUTHORIZATION = {"Authorization": "Token T"}
OURS = b"what was uploaded"
THEIRS = b"what nobody may see"


@frozen
class ServerDirectory:
    """A server's storage directory, with objects in it, and what is outside.

    :ivar outside: a folder that is none of the server's business, in which there is
        a file for each name that the server might look for.
    """

    server: ServerProcess
    client: httpx.Client
    storage: Path
    outside: Path
    keys: list[str]

    def file(self, number: int) -> Path:
        """Return the file of one of the objects."""
        *folders, name = self.keys[number].split("/")
        prefix, *rest = folders
        return self.storage.joinpath(prefix, *(f"{each}~" for each in rest), name)

    def snapshot(self) -> dict[str, bytes]:
        """Return all files outside."""
        return {
            str(path): path.read_bytes()
            for path in self.outside.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("escapes")
    dsn = f"sqlite:///{folder / 'ledger.sqlite'}"
    upgrade(dsn)
    server = ServerProcess(
        *("--psql-dsn", dsn, "--local-storage", str(folder / "objects")),
        *("--dummy-auth", "T", "--dummy-cache"),
    )
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log()


@pytest.fixture
def place(server: ServerProcess, tmp_path: Path) -> Iterator[ServerDirectory]:
    dsn, storage = server.options[1], Path(server.options[3])
    url = f"{server.url}/api/v0/files/p/"
    with httpx.Client(base_url=url, headers=AUTHORIZATION, timeout=60) as client:
        for path in ("top", "a/one", "a/b/two"):
            assert client.post(path, content=OURS).status_code == 204
        rows = query(dsn, "SELECT blob_key FROM objects ORDER BY length(path), path")
        keys = [str(key) for (key,) in rows]
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").write_bytes(THEIRS)
        for key in keys:
            name = key.rpartition("/")[2]
            for folder in ("", "a~", "b~", "a~/b~", "p", "p/a~", "p/a~/b~"):
                (outside / folder).mkdir(parents=True, exist_ok=True)
                (outside / folder / name).write_bytes(THEIRS)
        yield ServerDirectory(server, client, storage, outside, keys)
    shutil.rmtree(storage / "p", ignore_errors=True)
    if (storage / "p").is_symlink():
        (storage / "p").unlink()


def link_file(place: ServerDirectory) -> None:
    """Put links to precious files in the place of blobs."""
    for number in range(3):
        place.file(number).unlink()
        place.file(number).symlink_to(place.outside / "precious")


def link_folder(place: ServerDirectory) -> None:
    """Put a link to a folder outside in the place of one."""
    shutil.rmtree(place.storage / "p" / "a~")
    (place.storage / "p" / "a~").symlink_to(place.outside / "a~")
    place.file(0).unlink()


def link_inner_folder(place: ServerDirectory) -> None:
    """The same one level below."""
    shutil.rmtree(place.storage / "p" / "a~" / "b~")
    (place.storage / "p" / "a~" / "b~").symlink_to(place.outside / "b~")
    for number in (0, 1):
        place.file(number).unlink()


def link_prefix(place: ServerDirectory) -> None:
    """Put a link in the place of all that a prefix has."""
    shutil.rmtree(place.storage / "p")
    (place.storage / "p").symlink_to(place.outside / "p")


def link_upwards(place: ServerDirectory) -> None:
    """Put a relative link there, up and down again."""
    shutil.rmtree(place.storage / "p")
    target = os.path.relpath(place.outside / "p", place.storage)
    (place.storage / "p").symlink_to(target)


LINKS = [link_file, link_folder, link_inner_folder, link_prefix, link_upwards]


@pytest.mark.parametrize("link", LINKS)
def test_links(place: ServerDirectory, link: Callable[[ServerDirectory], None]) -> None:
    """Symbolic links in the storage directory are not followed, for reading, writing
    or deleting, by clients' requests or by the collector."""
    before = place.snapshot()
    link(place)
    for path in ("top", "a/one", "a/b/two"):
        answer = place.client.get(path)
        assert answer.status_code in (500, 503)
        assert THEIRS not in answer.content
        part = place.client.get(path, headers={"Range": "bytes=0-3"})
        assert part.status_code in (500, 503)
        answer = place.client.post(path, content=b"new")
        assert answer.status_code in (204, 503)
        if answer.status_code == 204:
            assert place.client.get(path).content == b"new"
        assert place.client.delete(path).status_code == 204
    assert place.snapshot() == before


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("link", LINKS)
async def test_collector(
    place: ServerDirectory, link: Callable[[ServerDirectory], None]
) -> None:
    """What is deleted is a link at the most, never what it points at."""
    before = place.snapshot()
    link(place)
    threads = ThreadPool(reactor, 1, "test")
    threads.start()
    storage = LocalStorage(place.storage, threads)
    await storage.bind(str(await storage.identity()))
    await storage.delete(place.keys)
    threads.stop()
    assert place.snapshot() == before


def test_link_instead_of_incoming(tmp_path: Path) -> None:
    """A link in the place of the folder of unfinished uploads is not swept, and
    nothing is written where it leads."""
    outside, storage = tmp_path / "outside", tmp_path / "objects"
    outside.mkdir()
    storage.mkdir()
    (outside / "precious").write_bytes(THEIRS)
    (storage / ".incoming").symlink_to(outside)
    dsn = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    upgrade(dsn)
    options = ("--psql-dsn", dsn, "--local-storage", str(storage))
    with ServerProcess(*options, "--dummy-auth", "T", "--dummy-cache") as server:
        url = f"{server.url}/api/v0/files/p/a"
        for body in (b"x", b"x" * 500_000):
            answer = httpx.post(url, content=body, headers=AUTHORIZATION, timeout=60)
            assert answer.status_code == 503
        assert httpx.get(f"{server.url}/readyz").status_code == 503
    assert [path.name for path in outside.iterdir()] == ["precious"]
