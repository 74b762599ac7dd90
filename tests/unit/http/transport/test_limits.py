"""Who is let in."""

from __future__ import annotations

import pytest

from qabel_block.http.transport.limits import (
    FULL,
    FULL_OF_ONE,
    MAX_REJECTING,
    ConnectionLimiter,
    origin,
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1", "fe80::2", True),
        ("::1.2.3.4", "1.2.3.4", False),
    ],
)
def test_origin(one: str, other: str, same: bool) -> None:
    """An IPv4 address is one origin, an IPv6 network of 64 bits is one as well."""
    assert origin(one)
    assert (origin(one) == origin(other)) == same


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "unix"])
def test_this_machine(host: str) -> None:
    """Whoever is on this machine is not counted by address."""
    assert origin(host) is None


def test_in_all() -> None:
    """When so many are in, nobody else is, until somebody leaves."""
    connection_limiter = ConnectionLimiter(most=2)
    for _ in range(2):
        assert connection_limiter.refusal() is None
        connection_limiter.enter()
    assert connection_limiter.refusal() == FULL
    connection_limiter.leave(None)
    assert connection_limiter.refusal() is None


def test_of_one() -> None:
    """When so many of one origin are in, others still come in; and none is
    remembered that is out."""
    connection_limiter = ConnectionLimiter(most_of_one=2)
    for _ in range(2):
        assert connection_limiter.client_refusal("a") is None
        connection_limiter.enter()
        connection_limiter.enter_client("a")
    assert connection_limiter.client_refusal("a") == FULL_OF_ONE
    assert connection_limiter.client_refusal("b") is None
    assert connection_limiter.client_refusal(None) is None
    for _ in range(2):
        connection_limiter.leave("a")
    assert connection_limiter.client_refusal("a") is None
    assert connection_limiter._of_one == {}


def test_no_limit() -> None:
    """Zero is no limit."""
    connection_limiter = ConnectionLimiter()
    for _ in range(10_000):
        connection_limiter.enter()
        connection_limiter.enter_client("a")
    assert connection_limiter.refusal() is None
    assert connection_limiter.client_refusal("a") is None


def test_turned_away() -> None:
    """So many are told why they don't come in, and no more at a time."""
    connection_limiter = ConnectionLimiter(most=1)
    assert all(connection_limiter.reject(FULL) for _ in range(MAX_REJECTING))
    assert not connection_limiter.reject(FULL)
    connection_limiter.forget()
    assert connection_limiter.reject(FULL)
