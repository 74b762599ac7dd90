"""How many tokens may fail from one address."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from qabel_block.accounts import failed_logins
from qabel_block.accounts.failed_logins import LIMIT, FailedLogins, LoginGuard
from qabel_block.errors import TooManyFailedLogins, UnknownUser
from qabel_block.model import Account

ACCOUNT = Account(7, True, 1, 1)
HERE = "192.0.2.1"


@define
class _Double:
    """Knows the token ``good``; counts look-ups, and answers when it is told to.

    :ivar remembered: whether it knows that without a look-up.
    """

    remembered: bool = True
    looked_up: int = 0
    held: list[Deferred[None]] | None = None
    now: float = 0.0
    guard: LoginGuard = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.guard = LoginGuard(self, FailedLogins(lambda: self.now))  # type: ignore[arg-type]

    async def authenticate(self, authorization: str, _request_id: str) -> Account:
        self.looked_up += 1
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]
        if authorization != "good":
            raise UnknownUser
        return ACCOUNT

    async def recall(self, authorization: str) -> Account | None:
        return ACCOUNT if self.remembered and authorization == "good" else None

    def ask(self, token: str, origin: str | None = HERE) -> Any:
        return _outcome(self.guard.authenticate(token, "r", origin))[0]


def _outcome(work: Coroutine[Deferred[Any], Any, Account]) -> list[Any]:
    outcome: list[Any] = []

    def keep(result: Any) -> None:
        outcome.append(getattr(result, "value", result))

    Deferred.fromCoroutine(work).addBoth(keep)
    return outcome


def _fail(double: _Double, count: int = LIMIT) -> None:
    for number in range(count):
        assert isinstance(double.ask(f"bad {number}"), UnknownUser)


def test_limit() -> None:
    """Beyond the limit nothing is looked up until the minute is over; a token that is
    remembered is served all the same."""
    double = _Double()
    _fail(double)
    double.now = 20.0
    for number in range(100):
        error = double.ask(f"new {number}")
        assert isinstance(error, TooManyFailedLogins)
        assert error.seconds == 40.0
        assert double.ask("good") == ACCOUNT
    assert double.looked_up == LIMIT
    double.now = 60.0
    _fail(double)
    assert double.looked_up == 2 * LIMIT


def test_others() -> None:
    """Addresses count by themselves, and whoever has none does not count."""
    double = _Double(remembered=False)
    _fail(double)
    assert double.ask("good", "192.0.2.2") == ACCOUNT
    for _ in range(2 * LIMIT):
        assert isinstance(double.ask("bad", None), UnknownUser)


def test_successes_do_not_count() -> None:
    """Only tokens that fail are counted."""
    double = _Double(remembered=False)
    for _ in range(2 * LIMIT):
        assert double.ask("good") == ACCOUNT
    _fail(double, LIMIT - 1)
    assert double.ask("good") == ACCOUNT


def test_at_once() -> None:
    """Of many at the same time no more are looked up than in turn."""
    double = _Double(held=[])
    assert double.held is not None
    outcomes = [
        _outcome(double.guard.authenticate(f"bad {number}", "r", HERE))
        for number in range(3 * LIMIT)
    ]
    assert double.looked_up == LIMIT
    for held in double.held:
        held.callback(None)
    kinds = [type(outcome[0]) for outcome in outcomes]
    assert kinds == [UnknownUser] * LIMIT + [TooManyFailedLogins] * (2 * LIMIT)
    assert double.looked_up == LIMIT


def test_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of addresses so many are remembered."""
    monkeypatch.setattr(failed_logins, "ORIGINS", 3)
    failed = FailedLogins(lambda: 0.0)
    double = _Double()
    guard = LoginGuard(double, failed)  # type: ignore[arg-type]
    for number in range(10):
        _outcome(guard.authenticate("bad", "r", f"192.0.2.{number}"))
    assert [n for n in range(10) if failed.has_failed(f"192.0.2.{n}")] == [7, 8, 9]
