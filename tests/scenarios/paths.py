"""The grammar of prefixes and paths (PROTOCOL section 2)."""

import pytest

from tests.support.settings import without_storage
from tests.support.world import World

GOOD = ["a", "A-_9", "a/b/c", "x" * 200, "/".join(["y" * 179] * 5), "blocks/a"]
BAD = [
    "a.b",
    "..",
    "../a",
    "a/..",
    "a/../b",
    "a//b",
    "/a",
    "a%2Fb",
    "a%2fb",
    "%2e%2e",
    "%61",
    "a%00",
    "a+b",
    "a~b",
    "a b".replace(" ", "%20"),
    "\u00e4",
    "%c3%a4",
    "%ff",
    "x" * 201,
    "/".join(["y" * 180] * 5),
    ";a",
    "a//",
]


def test_limits_of_these_examples() -> None:
    """The longest good path has 900 characters, the bad one after it more."""
    assert len(GOOD[4]) == 899
    assert len(BAD[-3]) == 904


@pytest.mark.parametrize("path", GOOD)
def test_paths_of_the_grammar(world: World, path: str) -> None:
    """An object can be stored under each path of the grammar."""
    user = world.user()
    assert user.upload(path, b"content").status_code == 204
    assert user.download(path).content == b"content"
    assert user.delete(path).status_code == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", BAD)
@without_storage
def test_anything_else_is_not_found(world: World, path: str, method: str) -> None:
    """Any other path is 404 and touches nothing."""
    user = world.user()
    user.upload("a/b", b"untouched")
    before = len(world.stored(user.prefix))
    with user.wire() as wire:
        target = f"/api/v0/files/{user.prefix}/{path}".encode().decode("latin-1")
        wire.head(method, target, {**user.authorization, "Content-Length": "0"})
        answer = wire.answer(method)
    if path == "\u00e4":  # not a request target at all (RFC 9112 section 3.2)
        assert answer.status in (400, 404)
    else:
        assert answer.status == 404
    assert len(world.stored(user.prefix)) == before
    assert user.download("a/b").content == b"untouched"


@pytest.mark.parametrize("prefix", ["a.b", "..", "x" * 37, "%61", "", "a~b"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@without_storage
def test_prefixes_of_another_grammar(world: World, prefix: str, method: str) -> None:
    """A prefix that can't exist is 404."""
    user = world.user()
    with user.wire() as wire:
        wire.head(
            method,
            f"/api/v0/files/{prefix}/a",
            {**user.authorization, "Content-Length": "0"},
        )
        assert wire.answer().status == 404


def test_object_and_folder_of_the_same_name(world: World) -> None:
    """`a` and `a/b` and `a/b/c` can all be objects, in any order of creation."""
    user = world.user()
    for path in ("a/b", "a", "a/b/c"):
        assert user.upload(path, path.encode()).status_code == 204
    for path in ("a/b", "a", "a/b/c"):
        assert user.download(path).content == path.encode()
    assert user.delete("a/b").status_code == 204
    assert user.download("a").content == b"a"
    assert user.download("a/b").status_code == 404
    assert user.download("a/b/c").content == b"a/b/c"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v0/prefix/", "GET, HEAD, POST"),
        ("POST", "/api/v0/quota/", "GET, HEAD"),
        ("PATCH", "/api/v0/files/p/a", "DELETE, GET, HEAD, POST, PUT"),
        ("OPTIONS", "/api/v0/files/p/a", "DELETE, GET, HEAD, POST, PUT"),
        ("BREW", "/healthz", "GET, HEAD"),
        ("delete", "/api/v0/files/p/a", "DELETE, GET, HEAD, POST, PUT"),
        ("Get", "/healthz", "GET, HEAD"),
    ],
)
@without_storage
def test_other_methods(world: World, method: str, path: str, allowed: str) -> None:
    """A method that a resource does not have is 405 with `Allow`."""
    with world.user().wire() as wire:
        wire.head(method, path, {"Content-Length": "0"})
        answer = wire.answer()
    assert answer.status == 405
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v0/", "/api/v0/files/p", "//", "healthz", "xhealthz", "*"],
)
@without_storage
def test_nothing_there(world: World, path: str) -> None:
    """What is no resource is 404."""
    with world.user().wire() as wire:
        wire.head("GET", path)
        assert wire.answer().status == 404


def test_absolute_form(world: World) -> None:
    """A request target in absolute form is served (RFC 9112 section 3.2.2)."""
    user = world.user()
    user.upload("a", b"x")
    with user.wire() as wire:
        wire.head("GET", f"http://elsewhere.example{user.url('a')}")
        assert wire.answer().body == b"x"


def test_query_is_ignored(world: World) -> None:
    """A query makes no other resource."""
    user = world.user()
    user.upload("a", b"x")
    assert user.download("a?version=3").content == b"x"


@pytest.mark.parametrize("hosts", [[], ["a", "b"]])
def test_exactly_one_host(world: World, hosts: list[str]) -> None:
    """HTTP/1.1 without Host, or with two, is 400 (RFC 9112 section 3.2)."""
    with world.user().wire() as wire:
        lines = ["GET /healthz HTTP/1.1", *(f"Host: {host}" for host in hosts)]
        wire.send("\r\n".join([*lines, "", ""]).encode())
        assert wire.answer().status == 400
        assert wire.at_end()


def test_strange_host(world: World) -> None:
    """No value of Host makes a request fail."""
    with world.user().wire() as wire:
        for host in ("a..b", "[::1", "\u00ff", "x" * 300, ":::"):
            wire.send(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert wire.answer().status == 200
