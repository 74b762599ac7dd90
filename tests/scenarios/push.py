"""Push over WebSocket (PROTOCOL section 4), with a client that isn't ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.support.settings import without_storage
from tests.support.websocket import Socket
from tests.support.world import User, World, problem

pytestmark = without_storage

V0 = Subprotocol("v0.ws.block.qabel.de")
OTHER = Subprotocol("other")
TIMEOUT = 60
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
def user(world: World) -> User:
    return world.user()


def listen(
    user: User,
    path: str | None = None,
    subprotocols: list[Subprotocol] | None = None,
) -> Socket:
    """Open a socket for a user's prefix, with the token, or for one object."""
    place = user.prefix + (f"/{path}" if path else "")
    return user.server.websocket(
        f"/api/v0/websocket/{place}", {} if path else user.authorization, subprotocols
    )


def event(socket: Socket) -> dict[str, str]:
    """Return the next event."""
    message = socket.recv(timeout=TIMEOUT)
    assert isinstance(message, str)
    return dict(json.loads(message))


def test_changes_below_a_prefix(user: User) -> None:
    """A socket of a prefix is told of uploads and deletions below it, in order,
    in text messages."""
    with listen(user) as socket:
        first = user.upload("a", b"1").headers["etag"]
        second = user.upload("a/b", b"2").headers["etag"]
        user.delete("a")
        name = user.prefix
        assert [event(socket) for _ in range(3)] == [
            {"operation": "POST", "prefix": name, "path": f"{name}/a", "etag": first},
            {
                "operation": "POST",
                "prefix": name,
                "path": f"{name}/a/b",
                "etag": second,
            },
            {"operation": "DELETE", "prefix": name, "path": f"{name}/a"},
        ]


def test_changes_of_an_object(user: User) -> None:
    """A socket of an object is told of this one only, without authorization."""
    with listen(user, "a/b") as socket:
        for path in ("a", "a/b/c", "b", "a/b"):
            user.upload(path, b"x")
        assert event(socket)["path"] == f"{user.prefix}/a/b"
        user.delete("a/b")
        assert event(socket)["operation"] == "DELETE"


def test_what_is_not_told(user: User) -> None:
    """Blocks, refused uploads and deletions of nothing are not told of."""
    with listen(user) as socket:
        user.upload("blocks/a", b"x")
        user.upload("x/blocks", b"x")
        user.upload("a", b"x", If_Match='"other"')
        user.delete("nothing")
        user.upload("last", b"x")
        assert event(socket)["path"] == f"{user.prefix}/last"


def test_other_prefixes(user: User) -> None:
    """A prefix never sees another's events, even of the same user."""
    with listen(user) as socket:
        other = user.new_prefix()
        user.client.post(f"/api/v0/files/{other}/a", content=b"x")
        user.upload("own", b"x")
        assert event(socket)["path"] == f"{user.prefix}/own"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [([V0], V0), ([OTHER, V0], V0), ([V0, OTHER], V0), (None, None)],
)
def test_subprotocol(
    user: User, offered: list[Subprotocol] | None, selected: Subprotocol | None
) -> None:
    """Ours is selected when it is offered; a client that offers none is taken."""
    with listen(user, subprotocols=offered) as socket:
        assert socket.subprotocol == selected


def refused(
    user: User,
    path: str,
    headers: dict[str, str],
    subprotocols: list[Subprotocol] | None = None,
) -> Any:
    """Try to open a socket; return the answer that refuses it."""
    with pytest.raises(InvalidStatus) as caught:
        user.server.websocket(f"/api/v0/websocket/{path}", headers, subprotocols)
    return caught.value.response


def test_refused_handshakes(world: World, user: User) -> None:
    """What is wrong with a handshake is said in HTTP."""
    stranger = world.user()
    own, auth = user.prefix, user.authorization
    only_other = {"subprotocols": [OTHER]}
    for path, headers, options, status, reason in (
        (own, {}, {}, 403, "No authorization given"),
        (own, {"Authorization": "Token no"}, {}, 403, "User not found"),
        (own, stranger.authorization, {}, 403, "Not authorized for this prefix"),
        ("nowhere", auth, {}, 403, "Not authorized for this prefix"),
        (own, auth, only_other, 400, "Bad Request"),
        (f"{own}/a", {}, only_other, 400, "Bad Request"),
        (f"{own}/blocks/a", {}, {}, 405, "Method Not Allowed"),
        (f"{own}/a/blocks", {}, {}, 405, "Method Not Allowed"),
        (f"{own}/a..b", {}, {}, 404, "Not Found"),
        ("", auth, {}, 404, "Not Found"),
    ):
        answer = refused(user, path, headers, **options)
        assert (answer.status_code, answer.reason_phrase) == (status, reason)


def test_no_handshake(user: User) -> None:
    """Plain requests are told to upgrade, or that they can't do this here."""
    url = f"/api/v0/websocket/{user.prefix}"
    answer = user.client.get(url, headers={"Accept": "application/problem+json"})
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert problem(answer)["status"] == 426
    assert user.client.post(url).status_code == 405
    with user.wire() as wire:
        for _ in range(2):
            wire.head("HEAD", f"{url}/a", HANDSHAKE)
            assert wire.answer("HEAD").status == 426
    assert user.quota()["size"] == 0


@pytest.mark.parametrize("missing", ["Connection", "Upgrade", "Version", "Key"])
def test_broken_handshakes(user: User, missing: str) -> None:
    """A handshake that lacks something RFC 6455 asks for is refused, and the
    connection goes on."""
    headers = {**user.authorization, **HANDSHAKE}
    kept = {name: headers[name] for name in headers if not name.endswith(missing)}
    with user.wire() as wire:
        for _ in range(2):
            wire.head("GET", f"/api/v0/websocket/{user.prefix}", kept)
            assert wire.answer().status in (400, 426)


@pytest.mark.parametrize(
    ("offered", "status"),
    [("", 101), (" , ", 101), (V0.upper(), 400), (f"{V0.upper()}, {V0}", 101)],
)
def test_odd_subprotocols(user: User, offered: str, status: int) -> None:
    """A client that names none offers none, and names are compared as they are spelled
    (RFC 6455 section 4.1)."""
    headers = {**HANDSHAKE, "Sec-WebSocket-Protocol": offered}
    with user.wire() as wire:
        wire.head("GET", f"/api/v0/websocket/{user.prefix}/a", headers)
        answer = wire.answer()
    assert answer.status == status
    selected = answer.headers.get("sec-websocket-protocol")
    assert selected == (V0 if V0 in offered else None)


def test_old_handshake(user: User) -> None:
    """HTTP/1.0 knows no upgrade (RFC 9110 section 7.8)."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    with user.wire() as wire:
        target = f"/api/v0/websocket/{user.prefix}/a"
        wire.send(f"GET {target} HTTP/1.0\r\n{fields}\r\n".encode())
        answer = wire.answer()
    assert answer.status == 426
    assert answer.headers["connection"] == "Upgrade"


def test_trailing_slash(user: User) -> None:
    """A slash at the end makes no difference."""
    with listen(user, "a/") as socket:
        user.upload("a", b"x")
        assert event(socket)["path"] == f"{user.prefix}/a"


def test_what_clients_send(user: User) -> None:
    """What a client sends is ignored, up to 64 KiB at a time."""
    with listen(user) as socket:
        for message in ("x", b"\xff" * 60_000, "", "{}"):
            socket.send(message)
        assert socket.ping().wait(TIMEOUT)
        user.upload("a", b"x")
        assert event(socket)["path"] == f"{user.prefix}/a"
        socket.send(b"x" * 70_000)
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=TIMEOUT)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_data_behind_the_handshake(user: User) -> None:
    """What a client sends together with its handshake is not lost."""
    with user.wire() as wire:
        head = (
            f"GET /api/v0/websocket/{user.prefix}/a HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        ping = b"\x89\x82\0\0\0\0hi"
        wire.send(head.encode() + ping)
        received = b""
        while b"\x8a\x02hi" not in received:
            data = wire.socket.recv(4096)
            assert data
            received += data
        assert received.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in received
