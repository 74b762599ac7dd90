"""What is said to pages of other origins (PROTOCOL section 12)."""

from __future__ import annotations

import pytest

from qabel_block.http.cors import CrossOrigin

APP = b"https://app.example"
SAID = {
    b"Vary": b"Origin",
    b"Access-Control-Allow-Origin": APP,
    b"Access-Control-Expose-Headers": (
        b"ETag, Content-Range, Accept-Ranges, Repr-Digest, Retry-After, X-Request-ID"
    ),
}


@pytest.mark.parametrize("origins", [["https://app.example"], ["*"]])
def test_named(origins: list[str]) -> None:
    """A named origin is answered with itself, also where any is named."""
    assert dict(CrossOrigin(origins).headers(APP)) == SAID


@pytest.mark.parametrize(
    "origin", [b"https://other.example", b"http://app.example", b"null", b"", None]
)
def test_not_named(origin: bytes | None) -> None:
    """Others are answered without a word about origins."""
    headers = CrossOrigin(["https://app.example"]).headers(origin)
    assert headers == [(b"Vary", b"Origin")]


@pytest.mark.parametrize(
    "origin", [b"https://a, https://b", b"https://\xe4", b"x" * 600]
)
def test_no_origin(origin: bytes) -> None:
    """What no browser sends is never answered, even where any origin is named."""
    assert not CrossOrigin(["*"]).names(origin)


def test_nothing_without_the_option() -> None:
    """Without a named origin nothing changes."""
    nobody = CrossOrigin()
    assert nobody.headers(APP) == []
    assert not nobody.names(APP)
    assert nobody.admits_handshake(b"https://other.example", b"block.example")


@pytest.mark.parametrize(
    ("origin", "host", "admitted"),
    [
        (None, b"block.example", True),
        (APP, b"block.example", True),
        (b"https://block.example", b"block.example", True),
        (b"https://block.example", b"block.example:443", True),
        (b"http://block.example", b"Block.Example", True),
        (b"http://block.example:8888", b"block.example:8888", True),
        (b"http://[::1]:8888", b"[::1]:8888", True),
        (b"http://block.example:8888", b"block.example", False),
        (b"https://block.example.evil.example", b"block.example", False),
        (b"https://other.example", b"block.example", False),
        (b"block.example", b"block.example", False),
        (b"null", b"null", False),
        (b"https://other.example", None, False),
    ],
)
def test_handshakes(origin: bytes | None, host: bytes | None, admitted: bool) -> None:
    """WebSockets are for the server's own pages, for named ones and for programs."""
    policy = CrossOrigin(["https://app.example"])
    assert policy.admits_handshake(origin, host) == admitted
