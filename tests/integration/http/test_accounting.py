"""What this server asks the accounting server, and when it fails (PROTOCOL 5)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.settings import without_storage
from tests.support.world import LARGE, World


@without_storage
def test_one_call_for_simultaneous_requests(world: World) -> None:
    """Eight simultaneous first requests with one token ask once."""
    user = world.user()
    world.accounting.delay = 0.5
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: user.quota(), range(8)))
    finally:
        world.accounting.delay = 0
    assert answers == [{"quota": LARGE, "size": 0}] * 8
    auth = f"Token {user.token}"
    calls = [c for c in world.accounting.calls if c.body.get("auth") == auth]
    assert len(calls) == 1


@without_storage
def test_request_id_is_passed_on(world: World) -> None:
    """The accounting server is told the request's ID."""
    user = world.user()
    user.client.get("/api/v0/quota/", headers={"X-Request-ID": "passed-on"})
    auth = f"Token {user.token}"
    (call,) = [c for c in world.accounting.calls if c.body.get("auth") == auth]
    assert call.headers["x-request-id"] == "passed-on"
    assert call.headers["apisecret"] == world.accounting.secret
    assert call.headers["content-type"] == "application/json"


@without_storage
def test_no_token_in_the_log(world: World) -> None:
    """Neither tokens nor the secret ever show in the log."""
    user = world.user()
    user.quota()
    user.upload("a", b"x")
    stranger = uuid4().hex
    headers = {"Authorization": f"Token {stranger}"}
    user.client.get("/api/v0/quota/", headers=headers)
    log = world.server.log()
    assert user.token not in log
    assert stranger not in log
    assert world.accounting.secret not in log


@without_storage
def test_accounting_server_down(world: World) -> None:
    """While the accounting server is down, users it has told of go on, others
    get 503 with Retry-After."""
    known, unknown = world.user(), world.user()
    known.upload("a", b"x")
    world.accounting.status = 500
    try:
        assert known.upload("a", b"y").status_code == 204
        assert known.download("a").content == b"y"
        answer = unknown.client.get("/api/v0/quota/")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "accounting" in answer.json()["detail"]
        assert unknown.token not in answer.text
    finally:
        world.accounting.status = None
    assert unknown.quota()["size"] == 0


def test_no_accounting_server_at_all() -> None:
    """Nobody listens there: the server starts, is ready but for new users, and
    answers 503."""
    options = ("--dummy", "--dummy-cache", "--accounting-host", "http://127.0.0.1:9")
    with ServerProcess(*options) as server:
        client = httpx.Client(base_url=server.url, timeout=60)
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["degraded"].keys() == {"accounts"}
        headers = {"Authorization": "Token x"}
        answer = client.get("/api/v0/quota/", headers=headers)
        assert answer.status_code == 503


def test_unknown_tokens(
    redis_address: tuple[str, int],
    new_postgres_database: Callable[[], str],
    tmp_path: Path,
) -> None:
    """From one address so many unknown tokens are answered in a minute, by all
    processes together, and the accounting server is asked for hardly more; tokens
    that are known are served, and so are other addresses."""
    (host, port), dsn = redis_address, new_postgres_database()
    upgrade(dsn)
    with AccountingDouble() as accounting:
        accounting.add_user("known", 7)
        options = (
            *("--psql-dsn", dsn, "--local-storage", str(tmp_path)),
            *("--redis-host", host, "--redis-port", str(port)),
            *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
            *("--trusted-proxy", "127.0.0.1", "--processes", "2", "--log-to-stderr"),
        )
        with ServerProcess(*options) as server:

            def ask(token: str, address: str = "192.0.2.7") -> httpx.Response:
                """Ask over a new connection, to whichever process."""
                headers = {
                    "Authorization": f"Token {token}",
                    "X-Forwarded-For": address,
                }
                url = f"{server.url}/api/v0/quota/"
                return httpx.get(url, headers=headers, timeout=60)

            assert ask("known").status_code == 200
            answers = [ask(f"unknown-{number}") for number in range(50)]
            assert [a.status_code for a in answers] == [403] * 30 + [429] * 20
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
            assert len(accounting.calls) <= 1 + 30 + 2
            assert ask("known").status_code == 200
            assert ask("unknown", "192.0.2.8").status_code == 403


def test_wrong_secret() -> None:
    """An accounting server that refuses our secret leaves the server ready, and is
    named; neither the answer nor the log has the secret."""
    with AccountingDouble() as accounting:
        options = (
            *("--dummy", "--dummy-cache"),
            *("--accounting-host", accounting.url, "--apisecret", "wr0ng-secret"),
        )
        with ServerProcess(*options) as server:
            answer = httpx.get(f"{server.url}/readyz")
            assert answer.status_code == 200
            assert answer.json() == {
                "ready": True,
                "degraded": {"accounts": "it refuses the APISECRET (403)"},
            }
            assert "wr0ng-secret" not in server.log()
