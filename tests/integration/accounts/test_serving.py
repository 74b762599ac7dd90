"""Built-in accounts beside a serving server: PROTOCOL section 10 over TCP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.accounts.installation import (
    Installation,
    new_installation,
    new_prefix,
    url_of,
)

HEEDED_SECONDS = 5.0
"""Within which every node heeds a change (PROTOCOL section 10)."""

ROUNDS = 15
WRITERS = 12


@pytest.fixture(scope="module", params=["postgresql, local", "sqlite, local"])
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One process on SQLite, or two on PostgreSQL."""
    with new_installation(request, tmp_path_factory.mktemp("home")) as installation:
        yield installation


def _reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.reason_phrase


def _heeded(ask: Callable[[httpx.Client], int], clients: list[httpx.Client]) -> bool:
    """Wait until a change must be heeded; say whether all clients are answered so."""
    time.sleep(HEEDED_SECONDS)
    return all(ask(client) == 403 for client in clients for _ in range(3))


def test_permissions(installation: Installation) -> None:
    """Each token may do what its kind may."""
    full = installation.token("user", "add", "alice")
    (owner,) = installation.clients(full, 1)
    url = url_of(new_prefix(owner), "a")
    assert owner.post(url, content=b"1").status_code == 204
    append = installation.token("token", "add", "alice", "--append-only")
    read = installation.token("token", "add", "alice", "--read-only")
    refusal = (403, "Not allowed with this token")
    (appender,), (reader,) = (
        installation.clients(append, 1),
        installation.clients(read, 1),
    )
    assert appender.post(f"{url}b", content=b"1").status_code == 204
    assert _reason(appender.post(url, content=b"2")) == refusal
    assert _reason(appender.delete(f"{url}b")) == refusal
    assert _reason(appender.delete(f"{url}none")) == refusal
    assert appender.post("/api/v0/prefix/").status_code == 201
    assert _reason(reader.post(f"{url}c", content=b"1")) == refusal
    assert _reason(reader.delete(url)) == refusal
    assert _reason(reader.post("/api/v0/prefix/")) == refusal
    assert reader.get("/api/v0/quota/").json() == {"quota": 10 * 2**30, "size": 2}
    assert owner.get(url).content == b"1"


def test_changes(installation: Installation) -> None:
    """Every change holds on every process within five seconds."""
    token = installation.token("user", "add", "bob", "--quota", "10")
    clients = installation.clients(token)
    url = url_of(new_prefix(clients[0]), "blocks/a")
    assert [c.get("/api/v0/quota/").json()["quota"] for c in clients] == [10] * 4
    assert installation.run("user", "set", "bob", "--quota", "5M").status == 0
    time.sleep(HEEDED_SECONDS)
    assert [c.get("/api/v0/quota/").json()["quota"] for c in clients] == [5 * 2**20] * 4
    assert installation.run("user", "disable", "bob").status == 0
    assert _heeded(lambda c: c.post(url, content=b"1").status_code, clients)
    assert _reason(clients[0].post(url, content=b"1")) == (403, "User is disabled")
    assert clients[0].delete(url).status_code == 204
    assert installation.run("token", "revoke", "bob", "1").status == 0
    assert _heeded(lambda c: c.get("/api/v0/quota/").status_code, clients)
    assert _reason(clients[0].get("/api/v0/quota/")) == (403, "User not found")


def test_one_creates(installation: Installation) -> None:
    """Of many uploads to one new name with an append-only token exactly one is made."""
    (owner,) = installation.clients(installation.token("user", "add", "carol"), 1)
    prefix = new_prefix(owner)
    token = installation.token("token", "add", "carol", "--append-only")
    clients = installation.clients(token, WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        for round_ in range(ROUNDS):
            url = url_of(prefix, f"new-{round_}")

            def store(n: int, url: str = url) -> int:
                return clients[n].post(url, content=b"%d" % n).status_code

            statuses = list(threads.map(store, range(WRITERS)))
            assert sorted(statuses) == [204] + [403] * (WRITERS - 1)
            assert owner.get(url).content == b"%d" % statuses.index(204)


def test_failing_tokens(installation: Installation) -> None:
    """From one address so many unknown tokens are looked up; valid ones are served,
    and others' failures are their own."""
    token = installation.token("user", "add", "dave")
    url = f"{installation.server.url}/api/v0/quota/"
    with httpx.Client(timeout=60) as client:

        def ask(token: str, address: str = "192.0.2.7") -> httpx.Response:
            headers = {"Authorization": f"Token {token}", "X-Forwarded-For": address}
            return client.get(url, headers=headers)

        answers = [ask(f"qb_{number:022}") for number in range(40)]
        assert [a.status_code for a in answers] == [403] * 30 + [429] * 10
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        assert ask(token).status_code == 200
        assert ask(f"qb_{99:022}", "192.0.2.8").status_code == 403
