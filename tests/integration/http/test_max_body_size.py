"""--max-body-size (PROTOCOL section 2)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess
from tests.support.wire import Wire

LIMIT = 100_000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home: Path = tmp_path_factory.mktemp("small")
    options = ("--standalone", str(home), "--dummy-auth", "T")
    with ServerProcess(*options, "--max-body-size", str(LIMIT)) as server:
        yield httpx.Client(
            base_url=server.url, headers={"Authorization": "Token T"}, timeout=60
        )


def _chunks(size: int) -> Iterator[bytes]:
    yield from (b"x" * min(4096, size - at) for at in range(0, size, 4096))


@pytest.mark.parametrize("chunked", [False, True])
def test_limit(small: httpx.Client, chunked: bool) -> None:
    """A body of exactly the limit is stored; one byte more is 413 and nothing
    of it is."""

    def upload(size: int) -> httpx.Response:
        body = _chunks(size) if chunked else b"x" * size
        return small.post("/api/v0/files/p/a", content=body)

    assert upload(LIMIT).status_code == 204
    answer = upload(LIMIT + 1)
    assert (answer.status_code, answer.reason_phrase) == (413, "Content Too Large")
    assert len(small.get("/api/v0/files/p/a").content) == LIMIT
    assert small.get("/api/v0/quota/").json()["size"] == LIMIT


def test_endless_refused_body_is_cut(small: httpx.Client) -> None:
    """A refused body is read within limits only: 64 MiB, where larger ones are not
    taken anyway."""
    port = small.base_url.port
    assert port is not None
    with Wire(port) as wire:
        wire.head("POST", "/api/v0/files/p/a", {"Content-Length": str(2**30)})
        sent = 0
        with suppress(OSError):
            while sent < 1024:
                wire.send(b"x" * 2**20)
                sent += 1
        assert 64 <= sent < 1024
