"""How many tokens may fail from one address."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from qabel_block.accounts import failed_logins
from qabel_block.accounts.failed_logins import LIMIT, FailedLogins, LoginGuard
from qabel_block.caches.memory import MemoryCache
from qabel_block.errors import TooManyFailedLogins, Unavailable, UnknownUser
from qabel_block.interfaces import ICache
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
    clock: Clock = field(factory=Clock)
    cache: ICache = field(init=False)
    guard: LoginGuard = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cache = MemoryCache(self.clock)
        self.guard = self.another_guard()

    def another_guard(self) -> LoginGuard:
        """Return that of another process, which shares the cache."""
        failed = FailedLogins(self.clock.seconds, self.cache)
        return LoginGuard(self, failed)  # type: ignore[arg-type]

    async def authenticate(self, authorization: str, _request_id: str) -> Account:
        self.looked_up += 1
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]
        if authorization != "good":
            raise UnknownUser
        return ACCOUNT

    async def recall(self, authorization: str, request_id: str) -> Account | None:
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
    double.clock.advance(20)
    for number in range(100):
        error = double.ask(f"new {number}")
        assert isinstance(error, TooManyFailedLogins)
        assert error.seconds == 40.0
        assert double.ask("good") == ACCOUNT
    assert double.looked_up == LIMIT
    double.clock.advance(40)
    _fail(double)
    assert double.looked_up == 2 * LIMIT


def test_others() -> None:
    """Addresses count by themselves, and whoever has none does not count."""
    double = _Double(remembered=False)
    _fail(double)
    assert double.ask("good", "192.0.2.2") == ACCOUNT
    for _ in range(2 * LIMIT):
        assert isinstance(double.ask("bad", None), UnknownUser)


def test_asking_again_does_not_count() -> None:
    """A token that was good before may fail any number of times, and is looked up
    beyond the limit too."""
    double = _Double(remembered=False)
    for _ in range(2 * LIMIT):
        (error,) = _outcome(double.guard.authenticate_again("bad", "r"))
        assert isinstance(error, UnknownUser)
    _fail(double)
    assert _outcome(double.guard.authenticate_again("good", "r")) == [ACCOUNT]


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


def test_good_among_bad() -> None:
    """A token that is remembered waits for no look-up of others, and is served if that
    has become known while it waited."""
    double = _Double(held=[])
    assert double.held is not None
    for number in range(LIMIT):
        _outcome(double.guard.authenticate(f"bad {number}", "r", HERE))
    assert double.ask("good") == ACCOUNT
    double.remembered = False
    waiting = _outcome(double.guard.authenticate("good", "r", HERE))
    double.remembered = True
    assert waiting == []
    for held in double.held:
        held.callback(None)
    assert waiting == [ACCOUNT]
    assert double.looked_up == LIMIT


def test_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of addresses so many are remembered."""
    monkeypatch.setattr(failed_logins, "ORIGINS", 3)
    double = _Double()
    failed = FailedLogins(double.clock.seconds, double.cache)
    guard = LoginGuard(double, failed)  # type: ignore[arg-type]
    for number in range(10):
        _outcome(guard.authenticate("bad", "r", f"192.0.2.{number}"))
    assert [n for n in range(10) if failed.is_suspect(f"192.0.2.{n}")] == [7, 8, 9]


def test_processes() -> None:
    """Whichever processes are asked, no more failures than the limit are told; each
    has to see one to know of the others', and for how long they count."""
    double = _Double()
    guards = [double.guard, *(double.another_guard() for _ in range(3))]

    def ask(number: int) -> Any:
        guard = guards[number % len(guards)]
        return _outcome(guard.authenticate(f"bad {number}", "r", HERE))[0]

    for number in range(LIMIT):
        double.clock.advance(1)
        assert isinstance(ask(number), UnknownUser)
    for number in range(LIMIT, 3 * LIMIT):
        error = ask(number)
        assert isinstance(error, TooManyFailedLogins)
        assert error.seconds == 61.0 - LIMIT
    assert double.looked_up <= LIMIT + len(guards)
    assert double.ask("good") == ACCOUNT
    double.clock.advance(61 - LIMIT)
    assert isinstance(ask(0), UnknownUser)


def test_no_shared_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the shared cache each process counts what fails there."""

    async def fail(_self: MemoryCache, _key: str, _seconds: int) -> tuple[int, float]:
        raise Unavailable("cache", "gone")

    monkeypatch.setattr(MemoryCache, "count", fail)
    double = _Double()
    _fail(double)
    assert isinstance(double.ask("bad"), TooManyFailedLogins)


def test_forgotten_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is crowded out while its token is looked up counts again."""
    monkeypatch.setattr(failed_logins, "ORIGINS", 1)
    double = _Double(held=[])
    assert double.held is not None
    outcome = _outcome(double.guard.authenticate("bad", "r", HERE))
    other = _outcome(double.guard.authenticate("bad", "r", "192.0.2.2"))
    for held in double.held:
        held.callback(None)
    assert [type(one[0]) for one in (outcome, other)] == [UnknownUser] * 2
