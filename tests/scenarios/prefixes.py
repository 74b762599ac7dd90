"""Prefixes, and who may do what below them (PROTOCOL section 2)."""

from uuid import UUID

import pytest

from tests.support.settings import without_storage
from tests.support.world import World

pytestmark = without_storage


def test_new_prefix_is_a_uuid4(world: World) -> None:
    """POST /prefix/ answers 201 with a new UUID4 each time."""
    user = world.user()
    first, second = user.new_prefix(), user.new_prefix()
    assert first != second
    assert UUID(first).version == UUID(second).version == 4
    assert str(UUID(first)) == first


def test_prefixes_are_listed_oldest_first(world: World) -> None:
    """GET /prefix/ lists exactly the user's own prefixes, oldest first."""
    user, other = world.user(), world.user()
    assert user.client.get("/api/v0/prefix/").json() == {"prefixes": []}
    made = [user.new_prefix() for _ in range(5)]
    other.new_prefix()
    assert user.client.get("/api/v0/prefix/").json() == {"prefixes": made}


@pytest.mark.parametrize("resource", ["prefix", "quota"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_trailing_slash_makes_no_difference(
    world: World, resource: str, slash: str
) -> None:
    """Every resource answers with and without a trailing slash, not by redirect."""
    answer = world.user().client.get(f"/api/v0/{resource}{slash}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


def test_trailing_slash_of_a_file(world: World) -> None:
    """An object is the same resource with and without a trailing slash."""
    user = world.user()
    assert user.upload("a/b/", b"x").status_code == 204
    assert user.download("a/b").content == b"x"
    assert user.download("a/b/").content == b"x"
    assert user.delete("a/b/").status_code == 204
    assert user.download("a/b").status_code == 404


def test_new_user_stores_nothing(world: World) -> None:
    """GET /quota/ of somebody unknown to the ledger tells the quota and size 0."""
    assert world.user(quota=12345).quota() == {"quota": 12345, "size": 0}


REQUESTS = [
    ("GET", "/api/v0/prefix/"),
    ("POST", "/api/v0/prefix/"),
    ("GET", "/api/v0/quota/"),
    ("POST", "/api/v0/files/{prefix}/a"),
    ("PUT", "/api/v0/files/{prefix}/a"),
    ("DELETE", "/api/v0/files/{prefix}/a"),
]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_authorization_is_needed(world: World, method: str, path: str) -> None:
    """Without an Authorization header it is 403 `No authorization given`."""
    user = world.user()
    del user.client.headers["Authorization"]
    answer = user.client.request(method, path.format(prefix="p"))
    assert (answer.status_code, answer.reason_phrase) == (
        403,
        "No authorization given",
    )


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize("authorization", ["Token nobody", "nobody", "Basic QTpC"])
def test_unknown_token(
    world: World, method: str, path: str, authorization: str
) -> None:
    """An unknown token, or a header that is none, is 403 `User not found`."""
    user = world.user()
    answer = user.client.request(
        method, path.format(prefix="p"), headers={"Authorization": authorization}
    )
    assert (answer.status_code, answer.reason_phrase) == (403, "User not found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_the_owner_changes(world: World, method: str) -> None:
    """Below somebody else's prefix, or none, it is 403 and nothing changes."""
    user, stranger = world.user(), world.user()
    user.upload("a", b"mine")
    for path in (user.url("a"), "/api/v0/files/no-such-prefix/a"):
        answer = stranger.client.request(method, path)
        assert (answer.status_code, answer.reason_phrase) == (
            403,
            "Not authorized for this prefix",
        )
    assert user.download("a").content == b"mine"


def test_disabled_user(world: World) -> None:
    """A disabled user can't upload or get a prefix, but read, delete and ask."""
    user = world.user()
    user.upload("a", b"12345")
    disabled = world.login(user.user_id, active=False)
    for method, path in (("POST", "/api/v0/prefix/"), ("POST", user.url("a"))):
        answer = disabled.client.request(method, path, content=b"")
        assert (answer.status_code, answer.reason_phrase) == (403, "User is disabled")
    assert disabled.client.get(user.url("a")).content == b"12345"
    assert disabled.size == 5
    assert disabled.client.get("/api/v0/prefix/").json() == {"prefixes": [user.prefix]}
    assert disabled.client.delete(user.url("a")).status_code == 204
    assert disabled.size == 0


def test_reading_needs_no_authorization(world: World) -> None:
    """A prefix is all it takes to read; even a wrong token is ignored."""
    user = world.user()
    user.upload("a", b"secret")
    for headers in ({}, {"Authorization": "Token nobody"}):
        client = world.user().client
        del client.headers["Authorization"]
        answer = client.get(user.url("a"), headers=headers)
        assert (answer.status_code, answer.content) == (200, b"secret")
