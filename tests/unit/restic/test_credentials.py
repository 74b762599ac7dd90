"""Basic credentials whose password is a token."""

from __future__ import annotations

import base64
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qabel_block.errors import NoAuthorization
from qabel_block.restic.credentials import NOBODYS, token_authorization


def basic(credentials: bytes) -> str:
    return f"Basic {base64.b64encode(credentials).decode()}"


tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)


@given(st.text(st.characters(exclude_characters=":", codec="utf-8")), tokens)
def test_password_is_the_token(user: str, token: str) -> None:
    """Whatever the user's name is, and if there are colons in the token."""
    header = basic(f"{user}:{token}".encode())
    assert token_authorization(header) == f"Token {token}"


@pytest.mark.parametrize("header", [None, "", basic(b"a"), basic(b":"), basic(b"a:")])
def test_nothing_given(header: str | None) -> None:
    """Without a password nothing was given."""
    with pytest.raises(NoAuthorization):
        token_authorization(header)


@given(st.text())
def test_anything_else(header: str) -> None:
    """A header is refused or has a token in it, whatever it is."""
    with suppress(NoAuthorization):
        assert token_authorization(header).startswith("Token ")


@given(st.binary(max_size=100))
def test_any_credentials(credentials: bytes) -> None:
    """A token never has a character that would end it in a header."""
    try:
        token = token_authorization(basic(credentials)).removeprefix("Token ")
    except NoAuthorization:
        return
    assert set(token) <= set(string.ascii_letters + string.digits + string.punctuation)


def test_too_long() -> None:
    """No token is that long."""
    assert token_authorization(basic(b"a:" + b"x" * 1025)) == NOBODYS


@pytest.mark.parametrize("header", ["Token qb_x", basic(b"a:b c"), basic(b"a:\xe4")])
def test_no_token(header: str) -> None:
    """What may be no token is nobody's, with all that this costs."""
    assert token_authorization(header) == NOBODYS


def test_name_of_any_encoding() -> None:
    """The user's name is whatever bytes it is (RFC 7617 section 2 has no encoding)."""
    assert token_authorization(basic(b"\xe4:qb_x")) == "Token qb_x"
