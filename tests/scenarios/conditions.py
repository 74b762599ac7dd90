"""Conditional changes: the compare-and-swap of clients (PROTOCOL section 2)."""

import pytest

from tests.support.settings import without_storage
from tests.support.world import User, World

pytestmark = without_storage


@pytest.fixture
def user(world: World) -> User:
    return world.user()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_if_match(user: User, method: str) -> None:
    """With the current ETag, quoted or not, in a list or `*`, it is 204."""

    def change(value: str) -> int:
        answer = user.client.request(
            method, user.url("a"), content=b"y", headers={"If-Match": value}
        )
        return answer.status_code

    for form in ("{}", "bare", '"x", {}', "*"):
        etag = user.upload("a", b"x").headers["etag"]
        value = etag.strip('"') if form == "bare" else form.format(etag)
        assert change(value) == 204


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_if_match_fails(user: User, method: str) -> None:
    """With another ETag it is 412 with the current ETag, and nothing changes."""
    old = user.upload("a", b"old").headers["etag"]
    etag = user.upload("a", b"current").headers["etag"]
    for value in (old, '"x", "y"', f"W/{etag}", ""):
        answer = user.client.request(
            method, user.url("a"), content=b"y", headers={"If-Match": value}
        )
        assert answer.status_code == 412
        assert answer.headers["etag"] == etag
    assert user.download("a").content == b"current"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_if_match_without_object(user: User, method: str) -> None:
    """If-Match is 412 without an ETag if there is no object, `*` included."""
    for value in ('"x"', "*"):
        answer = user.client.request(
            method, user.url("a"), content=b"y", headers={"If-Match": value}
        )
        assert answer.status_code == 412
        assert "etag" not in answer.headers
    assert user.download("a").status_code == 404


def test_create_only(user: User) -> None:
    """If-None-Match: * creates, but does not replace."""
    assert user.upload("a", b"first", If_None_Match="*").status_code == 204
    answer = user.upload("a", b"second", If_None_Match="*")
    assert answer.status_code == 412
    assert answer.headers["etag"] == user.head("a").headers["etag"]
    assert user.download("a").content == b"first"
    user.delete("a")
    assert user.upload("a", b"third", If_None_Match="*").status_code == 204


def test_create_only_said_twice(user: User) -> None:
    """A star in a list replaces nothing either."""
    user.upload("a", b"first")
    for value in ("*, *", '*, "no"', '"no", *'):
        assert user.upload("a", b"second", If_None_Match=value).status_code == 412
    assert user.upload("a", b"second", If_None_Match='"*"').status_code == 204


def test_condition_on_two_lines(user: User) -> None:
    """Lines of the same header are one list (RFC 9110 section 5.3)."""
    etag = user.upload("a", b"x").headers["etag"]
    with user.wire() as wire:
        wire.send(
            f'POST {user.url("a")} HTTP/1.1\r\nHost: x\r\nIf-Match: "no"\r\n'
            f"If-Match: {etag}\r\nAuthorization: Token {user.token}\r\n"
            "Content-Length: 1\r\n\r\ny".encode()
        )
        assert wire.answer().status == 204


def test_both_conditions(user: User) -> None:
    """If both headers are there, both must hold."""
    etag = user.upload("a", b"x").headers["etag"]
    answer = user.upload("a", b"y", If_Match=etag, If_None_Match="*")
    assert answer.status_code == 412
