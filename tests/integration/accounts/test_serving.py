"""Built-in accounts beside a serving server: PROTOCOL section 10 over TCP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.accounts.installation import (
    Installation,
    new_installation,
    new_prefix,
    url_of,
)

HEEDED_SECONDS = 5.0
"""Within which every node heeds a change (PROTOCOL section 10)."""

CONNECTIONS = 8
"""So many reach all processes, among which new connections are divided."""

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


def _wait_until_heeded(
    installation: Installation,
    token: str,
    ask: Callable[[httpx.Client], object],
    expected: object,
) -> None:
    """Ask over new connections, to whichever processes, until all answers are as they
    must be when a change is heeded everywhere, and no longer than it may take."""
    began = time.monotonic()
    while True:
        late = time.monotonic() - began > HEEDED_SECONDS
        with ExitStack() as stack:
            clients = installation.clients(token, CONNECTIONS)
            seen = {ask(stack.enter_context(client)) for client in clients}
        if seen == {expected}:
            return
        assert not late, seen
        time.sleep(0.1)


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
    (client,) = installation.clients(token, 1)
    url = url_of(new_prefix(client), "blocks/a")

    def upload(client: httpx.Client) -> tuple[int, str]:
        return _reason(client.post(url, content=b"more than ten"))

    def ask(client: httpx.Client) -> tuple[int, str]:
        return _reason(client.get("/api/v0/quota/"))

    for words, request, expected in (
        ((), upload, (402, "Quota reached")),
        (("user", "set", "bob", "--quota", "5M"), upload, (204, "No Content")),
        (("user", "disable", "bob"), upload, (403, "User is disabled")),
        ((), ask, (200, "OK")),
        (("user", "enable", "bob"), upload, (204, "No Content")),
        (("token", "revoke", "bob", "1"), ask, (403, "User not found")),
    ):
        if words:
            assert installation.run(*words).status == 0
        _wait_until_heeded(installation, token, request, expected)
    assert client.get(url).content == b"more than ten"


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("token revoke {} 1", (403, "User not found")),
        ("user disable {}", (403, "User is disabled")),
        ("user set {} --quota 1000", (402, "Quota reached")),
        ("user delete {} --yes", (403, "User not found")),
    ],
    ids=["revoked", "disabled", "quota", "deleted"],
)
def test_uploads_under_way(
    installation: Installation, words: str, refused: tuple[int, str]
) -> None:
    """A change holds for uploads that have begun before it."""
    name = f"slow-{words.split()[1]}"
    token = installation.token("user", "add", name)
    (client,) = installation.clients(token, 1)
    prefix, body = new_prefix(client), b"x" * 2000

    def upload(client: httpx.Client) -> tuple[int, str]:
        return _reason(client.post(url_of(prefix, "blocks/b"), content=body))

    headers = {"Authorization": f"Token {token}", "Content-Length": str(len(body))}
    with installation.server.wire() as wire:
        wire.head("POST", url_of(prefix, "blocks/a"), headers)
        wire.send(body[:1000])
        assert installation.run(*words.format(name).split()).status == 0
        _wait_until_heeded(installation, token, upload, refused)
        wire.send(body[1000:])
        answer = wire.answer()
    assert (answer.status, answer.reason) == refused
    assert httpx.get(f"{installation.server.url}{url_of(prefix, 'blocks/a')}").is_error


def test_expiry(installation: Installation) -> None:
    """A token that has expired is unknown."""
    installation.token("user", "add", "grace")
    for expires, status in (("1d", 200), ("2020-01-01", 403)):
        token = installation.token("token", "add", "grace", "--expires", expires)
        (client,) = installation.clients(token, 1)
        assert client.get("/api/v0/quota/").status_code == status


@pytest.mark.parametrize(
    "command", ["token revoke {} 1", "user delete {} --yes"], ids=["token", "user"]
)
def test_sockets_of_a_revoked_token(installation: Installation, command: str) -> None:
    """Sockets of every process are closed within five seconds when their token is
    revoked or its user deleted, and not when the user is disabled."""
    name = f"listener-{command.split()[0]}"
    token = installation.token("user", "add", name)
    (client,) = installation.clients(token, 1)
    place = f"/api/v0/websocket/{new_prefix(client)}"
    headers = {"Authorization": f"Token {token}"}
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(installation.server.websocket(place, headers))
            for _ in range(CONNECTIONS)
        ]
        assert installation.run("user", "disable", name).status == 0
        for socket in sockets:
            with pytest.raises(TimeoutError):
                socket.recv(timeout=HEEDED_SECONDS / CONNECTIONS)
        assert installation.run(*command.format(name).split()).status == 0
        heeded = time.monotonic() + HEEDED_SECONDS
        for socket in sockets:
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(timeout=max(0.0, heeded - time.monotonic()))
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008
    assert token not in installation.server.log()


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
    """From one address so many unknown tokens are answered, by all processes together;
    valid ones are served, and others' failures are their own."""
    token = installation.token("user", "add", "dave")

    def ask(token: str, address: str = "192.0.2.7") -> httpx.Response:
        """Ask over a new connection, to whichever process."""
        headers = {"Authorization": f"Token {token}", "X-Forwarded-For": address}
        url = f"{installation.server.url}/api/v0/quota/"
        return httpx.get(url, headers=headers, timeout=60)

    answers = [ask(f"qb_{number:022}") for number in range(50)]
    assert [a.status_code for a in answers] == [403] * 30 + [429] * 20
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert ask(token).status_code == 200
    assert ask(f"qb_{99:022}", "192.0.2.8").status_code == 403
