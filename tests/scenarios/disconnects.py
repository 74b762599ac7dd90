"""Clients that leave in the middle of a request: nothing but garbage is left."""

import random
import socket
from collections.abc import Callable

import pytest

from tests.support.settings import without_storage
from tests.support.wire import Wire
from tests.support.world import User, World

BODY = b"0123456789abcdef" * 20_000  # 320,000 bytes

KINDS = ("upload", "chunked", "overwrite", "download", "delete", "prefix", "quota")


def _requests(user: User) -> dict[str, bytes]:
    """Return a request of each kind, as it goes over the wire."""
    auth = f"Host: x\r\nAuthorization: Token {user.token}\r\n"
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(BODY[at : at + 4096]), BODY[at : at + 4096])
        for at in range(0, len(BODY), 4096)
    )
    post = f"POST {user.url('new')} HTTP/1.1\r\n{auth}"
    return {
        "upload": f"{post}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY,
        "chunked": f"{post}Transfer-Encoding: chunked\r\n\r\n".encode()
        + chunks
        + b"0\r\n\r\n",
        "overwrite": f"PUT {user.url('a')} HTTP/1.1\r\n{auth}"
        f"Content-Length: {len(BODY)}\r\n\r\n".encode()
        + BODY,
        "download": f"GET {user.url('a')} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        "delete": f"DELETE {user.url('a')} HTTP/1.1\r\n{auth}\r\n".encode(),
        "prefix": f"POST /api/v0/prefix/ HTTP/1.1\r\n{auth}\r\n".encode(),
        "quota": f"GET /api/v0/quota/ HTTP/1.1\r\n{auth}\r\n".encode(),
    }


def close(wire: Wire) -> None:
    """Close both sides of a connection."""
    wire.close()


def half_close(wire: Wire) -> None:
    """Close one side, read to the end, and close the other."""
    wire.socket.shutdown(socket.SHUT_WR)
    try:
        while wire.socket.recv(65536):
            pass
    except OSError:
        pass
    wire.close()


def check_client_leaves(world: World, kind: str, leave: Callable[[Wire], None]) -> None:
    """Let clients leave at many points of a request, and when its answer begins."""
    user = world.user()
    before = user.upload("a", BODY).headers["etag"]
    request = _requests(user)[kind]
    chance = random.Random(kind)
    end = len(request)
    cuts = [0, 1, 20, request.find(b"\r\n\r\n") + 4, end - 1, end]
    cuts += [chance.randrange(end) for _ in range(6)]
    for cut in cuts:
        wire = user.wire()
        wire.send(request[:cut])
        leave(wire)
    wire = user.wire()
    wire.send(request)
    wire.socket.recv(1)
    leave(wire)
    world.server.wait_for(lambda: world.unfinished_uploads() == [])
    world.server.wait_for(lambda: user.size == user.sum_of_objects)
    for path in ("a", "new"):
        answer = user.download(path)
        if answer.status_code == 200:
            assert answer.content == BODY
        else:
            # Only a whole request may have made or removed an object.
            assert answer.status_code == 404
            assert path == "new" or kind == "delete"
    if kind in ("download", "prefix", "quota"):
        assert user.head("a").headers["etag"] == before
    assert "Traceback" not in world.server.log()


def test_cut_off_upload_changes_nothing(world: World) -> None:
    """An upload that the client cuts off leaves the old version in place."""
    user = world.user()
    etag = user.upload("a", b"old").headers["etag"]
    files = len(world.stored(user.prefix))
    for length in ({"Content-Length": "1000000"}, {"Transfer-Encoding": "chunked"}):
        with user.wire() as wire:
            wire.head("POST", user.url("a"), {**user.authorization, **length})
            wire.send(b"80000\r\n" + b"x" * 0x80000)
    world.server.wait_for(lambda: len(world.stored(user.prefix)) == files)
    assert user.head("a").headers["etag"] == etag
    assert user.size == 3


def test_cut_off_large_upload(world: World) -> None:
    """An upload that is cut off when parts of it are stored leaves nothing."""
    user = world.user()
    user.prefix  # noqa: B018
    with user.wire() as wire:
        headers = {**user.authorization, "Transfer-Encoding": "chunked"}
        wire.head("POST", user.url("a"), headers)
        for _ in range(24):
            wire.chunk(b"x" * 2**19)
        world.server.wait_for(lambda: world.unfinished_uploads() != [])
    world.server.wait_for(lambda: world.stored(user.prefix) == [])
    assert user.download("a").status_code == 404


@without_storage
@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"5\r\nhello!\r\n", b"-5\r\n", b"5 \r\nhelloXX", b"\r\n\r\n"]
)
def test_malformed_chunks(world: World, body: bytes) -> None:
    """A malformed chunk is 400 and the end; nothing is stored."""
    user = world.user()
    user.prefix  # noqa: B018
    with user.wire() as wire:
        headers = {**user.authorization, "Transfer-Encoding": "chunked"}
        wire.head("POST", user.url("a"), headers)
        wire.send(b"3\r\nabc\r\n" + body)
        assert wire.answer().status == 400
        assert wire.at_end()
    assert user.download("a").status_code == 404
    world.server.wait_for(lambda: world.unfinished_uploads() == [])


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 5\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: 3,3\r\n",
        "Content-Length: -1\r\n",
        "X: a\r\nContent-Length: 3\r\nContent-Length: 3\r\nY: b\r\n",
        "No colon\r\nContent-Length: 3\r\n",
        "Content-Length : 3\r\n",
    ],
)
@without_storage
def test_ambiguous_framing(world: World, fields: str) -> None:
    """A request whose length is ambiguous is 400, once, and does nothing."""
    user = world.user()
    head = (
        f"POST {user.url('a')} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Token {user.token}\r\n{fields}\r\n"
    )
    with user.wire() as wire:
        wire.send(head.encode() + b"abc")
        assert wire.answer().status == 400
        assert wire.at_end()
    assert user.download("a").status_code == 404
