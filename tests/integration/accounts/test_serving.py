"""Built-in accounts beside a serving server: PROTOCOL section 10 over TCP."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from qabel_block.ledger.migrate import upgrade
from tests.support.database import query
from tests.support.server import ServerProcess
from tests.support.tools import Ended, run_tool, start_tool

HEEDED_SECONDS = 5.0
"""Within which every node heeds a change (PROTOCOL section 10)."""

ROUNDS = 15
WRITERS = 12
OBJECTS = int(os.environ.get("QABEL_BLOCK_TEST_ERASED", "3000"))
"""Objects of a user who is deleted; 100,000 in full."""

KILLS = 5


@frozen
class Installation:
    """A server, and the options of the commands beside it.

    :ivar places: the options.
    :ivar directory: where the objects are.
    """

    server: ServerProcess
    places: tuple[str, ...]
    dsn: str
    directory: Path

    def run(self, *words: str) -> Ended:
        return run_tool(*words[:2], *self.places, "--quiet", *words[2:])

    def token(self, *words: str) -> str:
        ended = self.run(*words)
        assert ended.status == 0, ended.err
        return ended.out.strip()

    def clients(self, token: str, count: int = 4) -> list[httpx.Client]:
        """Return clients with connections of their own, to whatever processes."""
        return [
            httpx.Client(
                base_url=self.server.url,
                headers={"Authorization": f"Token {token}"},
                timeout=60,
            )
            for _ in range(count)
        ]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One process on SQLite, or two on PostgreSQL."""
    home = tmp_path_factory.mktemp("home")
    trusted = ("--trusted-proxy", "127.0.0.1")
    places: tuple[str, ...]
    if request.param == "sqlite":
        places = ("--standalone", str(home / "data"))
        server = ServerProcess(*places, *trusted)
        dsn = f"sqlite:///{home / 'data' / 'ledger.sqlite'}"
        directory = home / "data" / "objects"
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
        host, port = request.getfixturevalue("redis_address")
        dsn, directory = new(), home / "objects"
        directory.mkdir()
        upgrade(dsn)
        places = ("--psql-dsn", dsn, "--local-storage", str(directory))
        server = ServerProcess(
            *places,
            *trusted,
            *("--redis-host", host, "--redis-port", str(port)),
            *("--accounts", "builtin", "--processes", "2", "--log-to-stderr"),
        )
    with server:
        yield Installation(server, places, dsn, directory)


def _reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.reason_phrase


def _heeded(ask: Callable[[httpx.Client], int], clients: list[httpx.Client]) -> bool:
    """Wait until a change must be heeded; say whether all clients are answered so."""
    time.sleep(HEEDED_SECONDS)
    return all(ask(client) == 403 for client in clients for _ in range(3))


def _new_prefix(client: httpx.Client) -> str:
    return str(client.post("/api/v0/prefix/").json()["prefix"])


def _url(prefix: str, path: str) -> str:
    return f"/api/v0/files/{prefix}/{path}"


def test_permissions(installation: Installation) -> None:
    """Each token may do what its kind may."""
    full = installation.token("user", "add", "alice")
    (owner,) = installation.clients(full, 1)
    url = _url(_new_prefix(owner), "a")
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
    url = _url(_new_prefix(clients[0]), "blocks/a")
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
    prefix = _new_prefix(owner)
    token = installation.token("token", "add", "carol", "--append-only")
    clients = installation.clients(token, WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        for round_ in range(ROUNDS):
            url = _url(prefix, f"new-{round_}")

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


def test_user_delete(installation: Installation) -> None:
    """Whoever is deleted is gone without a trace, though the command is killed again
    and again, and others notice nothing."""
    (other,) = installation.clients(installation.token("user", "add", "frank"), 1)
    others = _new_prefix(other)
    token = installation.token("user", "add", "erin")
    clients = installation.clients(token, 8)
    prefixes = [_new_prefix(clients[0]) for _ in range(3)]
    with ThreadPoolExecutor(8) as threads:

        def store(n: int) -> int:
            url = _url(prefixes[n % 3], f"blocks/{n}")
            return clients[n % 8].post(url, content=b"four").status_code

        assert set(threads.map(store, range(OBJECTS))) == {204}
    clients[0].post(_url(prefixes[0], "replaced"), content=b"1")
    clients[0].post(_url(prefixes[0], "replaced"), content=b"2")
    words = ("user", "delete", *installation.places, "erin", "--yes")
    for _ in range(KILLS):
        before = _blobs(installation, prefixes)
        tool = start_tool(*words)
        while tool.poll() is None and _blobs(installation, prefixes) == before:
            other.post(_url(others, "a"), content=b"1")
        tool.send_signal(signal.SIGKILL)
        tool.communicate()
    assert run_tool(*words).status in (0, 1)
    assert _blobs(installation, prefixes) == 0
    names = ", ".join(f"'{prefix}'" for prefix in prefixes)
    for sql in (
        f"SELECT count(*) FROM objects WHERE prefix IN ({names})",
        f"SELECT count(*) FROM prefixes WHERE name IN ({names})",
        "SELECT count(*) FROM accounts WHERE name = 'erin'",
        *(
            f"SELECT count(*) FROM garbage WHERE blob_key LIKE '{prefix}/%'"
            for prefix in prefixes
        ),
    ):
        assert query(installation.dsn, sql) == [(0,)], sql
    assert other.post(_url(others, "a"), content=b"1").status_code == 204
    ended = run_tool("verify", *installation.places, "--json", "--quiet")
    assert ended.status == 0, ended.out


def _blobs(installation: Installation, prefixes: list[str]) -> int:
    """Return how many files there are below some prefixes."""
    folders = [installation.directory / prefix for prefix in prefixes]
    return sum(path.is_file() for folder in folders for path in folder.rglob("*"))
