"""--dummy-auth, and what else makes a server to play with (PROTOCOL 5, 6)."""

import json

import httpx

from tests.support.server import ServerProcess


def _client(server: ServerProcess, token: str = "MAGICFARYDUST") -> httpx.Client:
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=60
    )


def test_any_prefix(dummy_server: ServerProcess) -> None:
    """The token's user may write below any prefix, created on first use."""
    client = _client(dummy_server)
    url = "/api/v0/files/test/blocks/a"
    assert client.get(url).status_code == 404
    assert client.delete(url).status_code == 204
    assert client.post(url, content=b"x").status_code == 204
    assert client.get(url).content == b"x"
    assert "test" in client.get("/api/v0/prefix/").json()["prefixes"]
    assert client.delete(url).status_code == 204


def test_quota_of_the_dummy_user(dummy_server: ServerProcess) -> None:
    """It has 2 GiB of storage, used by the sum of its objects."""
    client = _client(dummy_server)
    before = client.get("/api/v0/quota/").json()
    assert before["quota"] == 2 * 2**30
    client.post("/api/v0/files/other/a", content=b"12345")
    assert client.get("/api/v0/quota/").json()["size"] == before["size"] + 5
    client.delete("/api/v0/files/other/a")
    assert client.get("/api/v0/quota/").json() == before


def test_wrong_token(dummy_server: ServerProcess) -> None:
    """Any other token is unknown."""
    for token in ("magicfarydust", "MAGICFARYDUST2", "x"):
        answer = _client(dummy_server, token).get("/api/v0/quota/")
        assert (answer.status_code, answer.reason_phrase) == (403, "User not found")


def test_token_beyond_ascii() -> None:
    """A token may have any letters; clients send them as UTF-8."""
    options = ("--dummy", "--dummy-auth", "tökénà", "--dummy-cache")
    with ServerProcess(*options) as server:
        for coding, status in (("utf-8", 200), ("latin-1", 403)):
            headers = {b"Authorization": "Token tökénà".encode(coding)}
            answer = httpx.get(f"{server.url}/api/v0/quota/", headers=headers)
            assert answer.status_code == status


def test_usage_log() -> None:
    """--dummy-log prints each usage event as one JSON line on stdout, and
    nothing else is printed there."""
    options = ("--dummy", "--dummy-auth", "T", "--dummy-cache", "--dummy-log")
    with ServerProcess(*options) as server:
        client = _client(server, "T")
        client.post("/api/v0/files/p/a", content=b"x" * 10)
        client.post("/api/v0/files/p/a", content=b"x" * 4)
        client.get("/api/v0/files/p/a")
        client.delete("/api/v0/files/p/a")
        client.delete("/api/v0/files/p/a")
    events = [json.loads(line) for line in server.output().splitlines()]
    assert [(event["user"], event["prefix"]) for event in events] == [(0, "p")] * 4
    assert [
        (event["stored"], event["freed"], event["downloaded"]) for event in events
    ] == [(10, 0, 0), (0, 6, 0), (0, 0, 4), (0, 4, 0)]


def test_dummy_forgets_everything() -> None:
    """--dummy forgets everything at exit, leaving no file behind."""
    options = ("--dummy", "--dummy-auth", "T", "--dummy-cache")
    server = ServerProcess(*options)
    with server:
        client = _client(server, "T")
        assert client.post("/api/v0/files/p/a", content=b"x").status_code == 204
        assert client.get("/api/v0/files/p/a").content == b"x"
    with server:
        client = _client(server, "T")
        assert client.get("/api/v0/files/p/a").status_code == 404
        assert client.get("/api/v0/quota/").json()["size"] == 0
