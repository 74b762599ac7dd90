"""How changes wait for their turn and for their owners' locks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from qabel_block.errors import RowLocked, Unavailable
from qabel_block.ledger.change_queue import WAIT_SECONDS, ChangeQueue, if_awaited
from qabel_block.ledger.commit import Commit, Deletion, Outcome, OwnerLocked
from qabel_block.model import ObjectName, WriteState
from qabel_block.util.batching import immediately
from qabel_block.util.budget import REQUEST_SECONDS, Budget, spending

Changes = Sequence[Commit | Deletion]


@define
class Transactions:
    """Keeps each transaction until it is told how it ends.

    :ivar begun: for each whether it waits for locks, and the prefixes.
    """

    clock: Clock = field(factory=Clock)
    begun: list[tuple[bool, list[str]]] = field(factory=list)
    ends: list[Deferred[list[Outcome]]] = field(factory=list)

    async def make(self, changes: Changes, wait: bool) -> list[Outcome]:
        self.begun.append((wait, [change.name.prefix for change in changes]))
        self.ends.append(Deferred())
        return await self.ends[-1]

    def lock(self, n: int) -> None:
        """End one that did not get its locks."""
        if self.begun[n][0]:
            self.ends[n].errback(RowLocked("database", "locked"))
        else:
            self.ends[n].callback([OwnerLocked() for _ in self.begun[n][1]])

    def succeed(self, n: int) -> None:
        self.ends[n].callback([None] * len(self.begun[n][1]))


@define
class Asking:
    """A queue, and what has become of each change: an error's type or ``None``."""

    transactions: Transactions = field(factory=Transactions)
    outcomes: dict[str, type[BaseException] | None] = field(factory=dict)
    queue: ChangeQueue = field(init=False)

    def __attrs_post_init__(self) -> None:
        seconds = self.transactions.clock.seconds
        self.queue = ChangeQueue(self.transactions.make, seconds, immediately)

    def ask(self, *prefixes: str) -> None:
        """Delete an object of each prefix, all in requests that have just begun."""
        for prefix in prefixes:
            self.ask_within(Budget(self.transactions.clock), prefix)

    def ask_within(self, budget: Budget, prefix: str) -> None:
        def keep(result: Outcome | Failure) -> None:
            self.outcomes[prefix] = result.type if isinstance(result, Failure) else None

        deletion = Deletion(ObjectName(prefix, "a"), lambda state: None)
        with spending(budget):
            asking = Deferred.fromCoroutine(self.queue.ask(deletion))
        asking.addBoth(keep)


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.fixture
def transactions(asking: Asking) -> Transactions:
    return asking.transactions


@pytest.fixture
def clock(transactions: Transactions) -> Clock:
    return transactions.clock


def test_waiting_for_a_slot_has_an_end(
    asking: Asking, transactions: Transactions, clock: Clock
) -> None:
    """However many owners are locked, nobody waits for longer than for one; what was
    given up is not made."""
    asking.ask(*"abcd")
    transactions.lock(0)
    transactions.lock(1)
    assert transactions.begun[2:] == [(True, ["a"]), (True, ["b"])]
    clock.advance(WAIT_SECONDS)
    assert asking.outcomes == {"c": RowLocked, "d": RowLocked}
    transactions.lock(2)
    transactions.lock(3)
    assert asking.outcomes == dict.fromkeys("abcd", RowLocked)
    assert len(transactions.begun) == 4
    assert not clock.getDelayedCalls()


def test_budget(asking: Asking, transactions: Transactions, clock: Clock) -> None:
    """Nobody waits for a lock when the budget is spent."""
    budget = Budget(clock)
    clock.advance(REQUEST_SECONDS - 1)
    asking.ask("a", "b")
    asking.ask_within(budget, "c")
    transactions.lock(0)
    transactions.lock(1)
    clock.advance(1)
    assert asking.outcomes == {"c": RowLocked}


def test_turns(asking: Asking, transactions: Transactions) -> None:
    """Locked owners take turns; who comes meanwhile joins the others of the prefix."""
    asking.ask("a")
    transactions.lock(0)
    asking.ask("b", "c")
    transactions.lock(2)
    transactions.lock(3)
    assert transactions.begun[1::3] == [(True, ["a"]), (True, ["b"])]
    asking.ask("a")
    transactions.lock(1)
    assert transactions.begun[-1] == (True, ["c"])
    transactions.lock(4)
    assert transactions.begun[-1] == (True, ["a", "a"])
    transactions.succeed(-1)
    assert asking.outcomes == {"a": None}
    asking.ask("a")
    assert transactions.begun[-1] == (False, ["a"])


def test_outcome_after_the_budget(
    asking: Asking, transactions: Transactions, clock: Clock
) -> None:
    """What a transaction has when the budget is spent has the outcome that it has."""
    asking.ask("a")
    transactions.lock(0)
    clock.advance(REQUEST_SECONDS)
    assert asking.outcomes == {}
    transactions.succeed(1)
    assert asking.outcomes == {"a": None}


def test_batch_that_waits_for_a_row(asking: Asking, transactions: Transactions) -> None:
    """If a batch meets a locked row, each prefix's changes are made by themselves, and
    those who wait meanwhile are asked for."""
    asking.ask(*"abbc")
    transactions.succeed(0)
    asking.ask("d")
    transactions.ends[1].errback(RowLocked("database", "locked"))
    assert transactions.begun[2:] == [(False, ["d"]), (True, ["b"]), (True, ["c"])]


def test_decisions_end_with_the_budget(clock: Clock) -> None:
    """What nobody waits for any more is not allowed."""
    state = WriteState(7, 0, None)
    decided: list[WriteState] = []
    assert if_awaited(decided.append) == decided.append
    with spending(Budget(clock)):
        decide = if_awaited(decided.append)
    decide(state)
    clock.advance(REQUEST_SECONDS)
    with pytest.raises(Unavailable):
        decide(state)
    assert decided == [state]
