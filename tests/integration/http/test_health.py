"""/healthz and /readyz."""

import httpx

from tests.support.server import ServerProcess
from tests.support.world import World


def test_healthy(world: World) -> None:
    """With all dependencies there both are 200."""
    client = world.user().client
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})


def test_nothing_there() -> None:
    """Without database and cache the server starts and lives, is not ready and
    says which is missing, and answers requests with 503."""
    options = (
        *("--psql-dsn", "postgresql://nobody:hidden@127.0.0.1:9/nothing"),
        *("--redis-host", "127.0.0.1", "--redis-port", "9"),
        *("--dummy-auth", "T", "--dummy"),
    )
    with ServerProcess(*options) as server:
        client = httpx.Client(base_url=server.url, timeout=60)
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert set(answer.json()) == {"ready", "database", "cache", "push"}
        for method, path in (
            ("GET", "quota"),
            ("POST", "prefix"),
            ("GET", "files/p/a"),
        ):
            answer = client.request(
                method, f"/api/v0/{path}", headers={"Authorization": "Token T"}
            )
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            assert "database" in answer.json()["detail"]
    assert "hidden" not in server.log()
    assert "Traceback" not in server.log()
