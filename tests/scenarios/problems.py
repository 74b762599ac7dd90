"""Error bodies (PROTOCOL section 2, RFC 9457)."""

import pytest

from tests.support.settings import without_storage
from tests.support.world import World, problem

pytestmark = without_storage

ADMIT = [
    "*/*",
    "application/problem+json",
    "application/*",
    "text/html, */*;q=0.1",
    "application/problem+json;q=0.5, text/html",
]
REFUSE = [
    "text/html",
    "application/json",
    "application/problem+json;q=0",
    "",
    "nonsense",
]


@pytest.mark.parametrize("accept", ADMIT)
def test_admitted(world: World, accept: str) -> None:
    """If Accept admits it the body is a problem with title and status."""
    answer = world.user().download("missing", Accept=accept)
    assert answer.status_code == 404
    assert problem(answer) == {"title": "File not found", "status": 404}


@pytest.mark.parametrize("accept", REFUSE)
def test_not_admitted(world: World, accept: str) -> None:
    """Otherwise the body is empty."""
    answer = world.user().download("missing", Accept=accept)
    assert (answer.status_code, answer.content) == (404, b"")
    assert answer.headers["content-length"] == "0"


def test_refused_prefix_has_no_json(world: World) -> None:
    """A refused POST /prefix/ without Accept has no body: clients would take
    any JSON for a prefix."""
    with world.user(active=False).wire() as wire:
        wire.head("POST", "/api/v0/prefix/", {"Content-Length": "0"})
        answer = wire.answer()
    assert (answer.status, answer.body) == (403, b"")


def test_unrouted_paths_are_problems_too(world: World) -> None:
    """A path that leads nowhere, and a wrong method, answer alike."""
    user = world.user()
    assert problem(user.client.get("/nowhere"))["status"] == 404
    assert problem(user.client.patch("/api/v0/quota"))["status"] == 405


def test_errors_tell_nothing_of_the_object(world: World) -> None:
    """A range that can't be satisfied does not carry the object's headers."""
    user = world.user()
    user.upload("a", b"x")
    answer = user.download("a", Range="bytes=5-")
    assert answer.status_code == 416
    assert "repr-digest" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["a.txt", "a b", "\u00e4", "a//b", "x" * 201])
def test_names_that_can_not_be(world: World, path: str) -> None:
    """An upload to a name that there can't be is 404, and the detail says which names
    there can be."""
    answer = world.user().upload(path, b"x", Accept="*/*")
    assert answer.status_code == 404
    assert "1 to 36 of the characters A-Z a-z 0-9 _ and -" in problem(answer)["detail"]


@pytest.mark.parametrize(
    "authorization", ["Bearer {}", "Basic {}", "{}", "Token", "token", None]
)
def test_what_to_send(world: World, authorization: str | None) -> None:
    """Who sends a token in another way, or none, is told how to; who sends one that
    nobody knows is not."""
    user = world.user()
    del user.client.headers["Authorization"]
    headers = {"Accept": "*/*"}
    if authorization is not None:
        headers["Authorization"] = authorization.format(user.token)
    answer = user.client.get("/api/v0/quota", headers=headers)
    reason = "No authorization given" if authorization is None else "User not found"
    assert (answer.status_code, answer.reason_phrase) == (403, reason)
    assert "Authorization: Token TOKEN" in problem(answer)["detail"]
    assert user.token not in answer.text
    headers["Authorization"] = "Token unknown"
    assert "detail" not in problem(user.client.get("/api/v0/quota", headers=headers))


def test_content_encoding(world: World) -> None:
    """A body that is said to be compressed is refused, since nobody would know of that
    when it is read."""
    user = world.user()
    for coding in ("gzip", "br, gzip", "identity, gzip"):
        answer = user.upload("a", b"x", Content_Encoding=coding, Accept="*/*")
        assert (answer.status_code, answer.reason_phrase) == (
            415,
            "Unsupported Media Type",
        )
        assert answer.headers["accept-encoding"] == "identity"
        assert "Content-Encoding" in problem(answer)["detail"]
    assert user.download("a").status_code == 404
    for coding in ("identity", "Identity", ""):
        answer = user.upload("a", b"x", Content_Encoding=coding)
        assert answer.status_code == 204
