"""--max-body-size (PROTOCOL section 2)."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess

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
