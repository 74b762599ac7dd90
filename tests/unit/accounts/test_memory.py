"""Somebody who guesses costs the accounting server little."""

from __future__ import annotations

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import Clock
from zope.interface import implementer

from qabel_block.accounts import dummy
from qabel_block.accounts.cache import UNKNOWN_SECONDS, CachingAuthenticator
from qabel_block.accounts.dummy import DummyAuthenticator
from qabel_block.accounts.memory import KeyCache
from qabel_block.caches.memory import MemoryCache
from qabel_block.errors import UnknownUser
from qabel_block.interfaces import IAuthenticator
from qabel_block.model import Account


@implementer(IAuthenticator)
@define
class Accounts:
    """Knows some headers and users, and counts what it is asked."""

    known: set[object] = field(factory=set)
    asked: list[object] = field(factory=list)

    async def authenticate(self, authorization: str, request_id: str) -> Account:
        return await self._answer(authorization)

    async def recall(self, authorization: str, request_id: str) -> Account | None:
        return None

    async def account(self, user_id: int, request_id: str) -> Account:
        return await self._answer(user_id)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def _answer(self, question: object) -> Account:
        self.asked.append(question)
        if question not in self.known:
            raise UnknownUser
        return Account(7, True, 1, 2)


class Node:
    def __init__(self) -> None:
        self.clock = Clock()
        self.accounts = Accounts()
        cache = MemoryCache(self.clock)
        self.authenticator = CachingAuthenticator(
            self.accounts, cache, "s", self.clock, self.clock.seconds
        )

    async def knows(self, question: str | int) -> bool:
        try:
            if isinstance(question, int):
                await self.authenticator.account(question, "r")
            else:
                await self.authenticator.authenticate(question, "r")
        except UnknownUser:
            return False
        return True


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("question", ["Token a", 5])
async def test_asked_once(question: str | int) -> None:
    """Whoever is unknown is asked for once, however often somebody tries, until a
    few seconds have passed; then a token that has become valid works."""
    node = Node()
    for _ in range(20):
        assert not await node.knows(question)
    assert node.accounts.asked == [question]
    node.clock.advance(UNKNOWN_SECONDS - 0.1)
    assert not await node.knows(question)
    node.accounts.known.add(question)
    node.clock.advance(0.1)
    assert await node.knows(question)
    assert node.accounts.asked == [question] * 2


@pytest_twisted.ensureDeferred
async def test_others_are_not_held_up() -> None:
    """That one token is unknown says nothing of another."""
    node = Node()
    node.accounts.known.add("Token b")
    assert not await node.knows("Token a")
    assert await node.knows("Token b")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Token",
        "Token ",
        "Tokena",
        "Basic a",
        "Token a b",
        "Token a\tb",
        "Token \xf6",
        f"Token {'a' * 1025}",
    ],
)
async def test_not_even_asked(header: str) -> None:
    """Nobody is asked for what can't be a token."""
    node = Node()
    assert not await node.knows(header)
    assert node.accounts.asked == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("header", ["Token a", "token a", "Token  a ", "Token a~!"])
async def test_asked(header: str) -> None:
    """What may be one is asked for as it came."""
    node = Node()
    node.accounts.known.add(header)
    assert await node.knows(header)
    assert node.accounts.asked == [header]


def test_bound() -> None:
    """However many are unknown, only so many are remembered, and none for longer
    than it counts."""
    clock = Clock()
    unknown = KeyCache(clock, UNKNOWN_SECONDS, limit=3)
    for key in ("a", "b", "c", "d"):
        unknown.keep(key)
    assert [key in unknown for key in ("a", "b", "c", "d")] == [False, *[True] * 3]
    clock.advance(UNKNOWN_SECONDS)
    assert "d" not in unknown
    unknown.keep("e")
    assert list(unknown._keys) == ["e"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("token", ["secret", "secre", "tecret", "x" * 100, "\xf6"])
async def test_comparison(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one token that is compared here is compared as a whole, in a time that
    says nothing of it."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append({one, other})
        return one == other

    monkeypatch.setattr(dummy, "compare_digest", compare)
    authenticator = DummyAuthenticator("secret")
    try:
        await authenticator.authenticate(f"Token {token}", "r")
    except UnknownUser:
        assert token != "secret"
    assert compared == [{token.encode(), b"secret"}]
