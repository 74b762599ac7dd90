"""Random bytes and almost-requests: whatever comes, no 500 and no traceback.

The environment variable ``QABEL_BLOCK_TEST_REQUESTS`` says how many there are; with
100000 this takes some minutes.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.server import ServerProcess

REQUESTS = int(os.environ.get("QABEL_BLOCK_TEST_REQUESTS", "400"))
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

METHODS = st.sampled_from(
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE"]
) | st.binary(min_size=1, max_size=8)
SEGMENTS = (
    st.sampled_from([b"api", b"v0", b"files", b"prefix", b"quota", b"websocket"])
    | st.sampled_from([b"p", b"a", b"blocks", b"healthz", b"readyz", b"x" * 201])
    | st.sampled_from([b"..", b".", b"", b"%2F", b"%00", b"~", "\u00e4".encode()])
    | st.binary(max_size=6)
)
PATHS = st.lists(SEGMENTS, max_size=8).map(lambda each: b"/" + b"/".join(each)) | (
    st.sampled_from([b"/api/v0/files/p/a", b"/api/v0/quota", b"/api/v0/prefix/"])
)
QUERIES = st.sampled_from([b"", b"?", b"?a=b", b"#x"]) | st.binary(max_size=5)
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"x"])
ETAGS = [b'"x"', b"x", b"*", b'W/"x"', b'"a", "b"', b'"', b",", b'"x" "y"']
NUMBERS = [b"0", b"1", b"-1", b"9" * 17, b"1e9", b""]
VALUES: dict[bytes, list[bytes]] = {
    b"Authorization": [b"Token T", b"Token U", b"", b"Basic x"],
    b"If-Match": ETAGS,
    b"If-None-Match": ETAGS,
    b"If-Range": ETAGS,
    b"Range": [b"bytes=0-", b"bytes=-1", b"bytes=5-1", b"bytes=0-0,2-3", b"x=1"],
    b"Content-Length": NUMBERS,
    b"Transfer-Encoding": [b"chunked", b"x"],
    b"Expect": [b"100-continue", b"x"],
    b"Content-Digest": [b"sha-256=::", b"sha-256=:eA==:", b"sha-512=:x:"],
    b"Repr-Digest": [b"sha-256=::", b"sha-256=:eA==:", b"sha-512=:x:"],
    b"Accept": [b"*/*", b"x;q=0", b"application/problem+json", b";;,"],
    b"Connection": [b"close", b"Upgrade", b"keep-alive"],
    b"Upgrade": [b"websocket", b"h2c"],
    b"Sec-WebSocket-Version": [b"13", b"8"],
    b"Sec-WebSocket-Key": [b"dGhlIHNhbXBsZSBub25jZQ==", b"x"],
    b"Sec-WebSocket-Protocol": [b"v0.ws.block.qabel.de", b"other"],
    b"X-Request-ID": [b"x", b"x" * 200],
    b"X-Forwarded-For": [b"192.0.2.1", b"::1, x", b"1.2.3.4:5"],
    b"Host": [b"x", b"x:y", b"[::1", b""],
    b"Cookie": [b"a=b", b"="],
    b"Content-Type": [b"application/x-www-form-urlencoded", b"multipart/form-data"],
    b"Content-Range": [b"bytes 0-1/2"],
}
HEADERS = st.one_of(
    st.sampled_from([(name, value) for name in VALUES for value in VALUES[name]]),
    st.tuples(st.sampled_from(list(VALUES)), st.binary(max_size=9)),
    st.tuples(st.binary(max_size=6), st.binary(max_size=9)),
)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [b"0\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n", b"5\r\nx", b"x" * 1000]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something that looks more or less like a request."""
    line = b" ".join([draw(METHODS), draw(PATHS) + draw(QUERIES), draw(VERSIONS)])
    headers = [(b"Host", b"x")] if draw(st.integers(0, 9)) else []
    headers += draw(st.lists(HEADERS, max_size=6))
    lines = [line, *(b"%s: %s" % header for header in headers), b"", b""]
    return b"\r\n".join(lines) + draw(BODIES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("random") / "home"
    server = ServerProcess("--standalone", str(home), "--dummy-auth", "T")
    server.start()
    headers = {"Authorization": "Token T"}
    url = f"{server.url}/api/v0/files/p/a"
    assert httpx.post(url, content=b"0123456789", headers=headers).status_code == 204
    yield server
    assert httpx.get(f"{server.url}/readyz").status_code == 200
    server.kill()
    assert "Traceback" not in server.log()


def answers_to(server: ServerProcess, data: bytes) -> list[int]:
    """Send bytes, close that side, and return the statuses of all answers."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        received = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            pass
    return [int(status) for status in STATUS.findall(received)]


relaxed = settings(
    max_examples=REQUESTS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(data=st.lists(requests(), min_size=1, max_size=3).map(b"".join))
def test_almost_requests(server: ServerProcess, data: bytes) -> None:
    """What looks like requests is never answered with 500."""
    assert 500 not in answers_to(server, data)


@relaxed
@given(data=st.binary(max_size=300))
def test_noise(server: ServerProcess, data: bytes) -> None:
    """Noise is answered with 400, if at all."""
    assert set(answers_to(server, data)) <= {400}
