"""Error bodies (PROTOCOL section 2, RFC 9457)."""

import pytest

from tests.integration.http.world import World, problem

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
