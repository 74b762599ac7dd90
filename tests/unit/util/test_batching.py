"""Questions that are asked together."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from qabel_block.errors import NotOwner, OutcomeUnknown, Unavailable
from qabel_block.util.batching import MAX_BATCH, MAX_WAIT_SECONDS, BatchQueue
from qabel_block.util.budget import REQUEST_SECONDS, Budget, spending


@define
class Asked:
    """Keeps each batch until it is told to answer."""

    batches: list[tuple[Sequence[int], Deferred[None]]] = field(factory=list)

    async def __call__(self, questions: Sequence[int]) -> list[int | Exception]:
        waiting: Deferred[None] = Deferred()
        self.batches.append((questions, waiting))
        await waiting
        return [NotOwner(q) if q < 0 else q * 10 for q in questions]

    @property
    def questions(self) -> list[list[int]]:
        return [list(questions) for questions, _ in self.batches]

    def answer(self, n: int) -> None:
        self.batches[n][1].callback(None)

    def fail(self, n: int, error: Exception) -> None:
        self.batches[n][1].errback(error)


def _outcomes(answers: Sequence[Deferred[int]]) -> list[object]:
    """Return what has come of each: a value, an error's type, or ``None``."""
    outcomes: list[object] = [None] * len(answers)

    def keep(result: int | Failure, n: int) -> None:
        outcomes[n] = result.type if isinstance(result, Failure) else result

    for n, answer in enumerate(answers):
        answer.addBoth(keep, n)
    return outcomes


def _ask(*questions: int) -> tuple[Asked, list[object]]:
    asked = Asked()
    batches: BatchQueue[int, int] = BatchQueue(asked)
    return asked, _outcomes([batches.ask(question) for question in questions])


def test_those_who_wait_are_asked_together() -> None:
    """The first is asked at once, by itself; those that come meanwhile are asked
    together as soon as its answer is there."""
    asked, outcomes = _ask(1, 2, 3, 4)
    assert asked.questions == [[1]]
    asked.answer(0)
    assert asked.questions == [[1], [2, 3, 4]]
    assert outcomes == [10, None, None, None]
    asked.answer(1)
    assert outcomes == [10, 20, 30, 40]


def test_those_who_come_at_the_same_time_are_asked_together() -> None:
    """If nobody is asked for, all that come before the next turn are a batch."""
    asked, clock = Asked(), Clock()
    batches: BatchQueue[int, int] = BatchQueue(
        asked, schedule=lambda function: clock.callLater(0, function)
    )
    outcomes = _outcomes([batches.ask(question) for question in (1, 2)])
    assert asked.questions == []
    clock.advance(0)
    assert asked.questions == [[1, 2]]
    asked.answer(0)
    assert outcomes == [10, 20]
    batches.ask(3)
    clock.advance(0)
    assert asked.questions == [[1, 2], [3]]


def test_batches_are_bounded() -> None:
    """However many wait, a batch is never larger than its bound."""
    questions = range(MAX_BATCH + 2)
    asked, outcomes = _ask(*questions)
    for n in range(3):
        asked.answer(n)
    assert [len(batch) for batch in asked.questions] == [1, MAX_BATCH, 1]
    assert outcomes == [question * 10 for question in questions]


def test_an_error_of_one() -> None:
    """An error that answers one question disturbs no other."""
    asked, outcomes = _ask(0, 7, -1, 8)
    for n in range(2):
        asked.answer(n)
    assert outcomes == [0, 70, NotOwner, 80]


def test_trouble() -> None:
    """Trouble is raised for the whole batch, and for those who wait; of theirs
    nothing was asked, so its outcome is known."""
    asked, outcomes = _ask(1, 2, 3)
    asked.fail(0, OutcomeUnknown("database", "lost"))
    assert outcomes == [OutcomeUnknown, Unavailable, Unavailable]
    assert asked.questions == [[1]]


def test_a_mistake() -> None:
    """An unexpected error is for its own batch only."""
    asked, outcomes = _ask(1, 2, 3)
    asked.fail(0, ZeroDivisionError())
    asked.answer(1)
    assert outcomes == [ZeroDivisionError, 20, 30]


def test_everybody_has_an_error_of_their_own() -> None:
    """Errors are not shared: each would grow the traceback of the others."""
    asked = Asked()
    batches: BatchQueue[int, int] = BatchQueue(asked)
    failures: list[Failure] = []
    for question in range(4):
        batches.ask(question).addErrback(failures.append)
    asked.answer(0)
    asked.fail(1, Unavailable("database", "it is gone"))
    assert [str(f.value) for f in failures] == ["database: it is gone"] * 3
    assert len({id(f.value) for f in failures}) == 3


def test_cancelling() -> None:
    """Who does not wait any more is not asked for, and does not disturb the others."""
    asked = Asked()
    batches: BatchQueue[int, int] = BatchQueue(asked)
    answers = [batches.ask(question) for question in (1, 2, 3)]
    outcomes = _outcomes(answers)
    answers[0].cancel()
    answers[2].cancel()
    for n in range(2):
        asked.answer(n)
    assert asked.questions == [[1], [2]]
    assert outcomes == [CancelledError, 20, CancelledError]


def test_those_whose_budget_is_spent() -> None:
    """Who has no time left is not asked for; an answer that must come comes late."""
    asked, clock = Asked(), Clock()
    batches: BatchQueue[int, int] = BatchQueue(asked, clock.seconds)
    with spending(Budget(clock)):
        clock.advance(REQUEST_SECONDS - 1)
        answers = [batches.ask_to_the_end(question) for question in (1, 2)]
        clock.advance(1)
        outcomes = _outcomes([*answers, batches.ask(3)])
    clock.advance(0)
    batches.ask(4)
    assert outcomes == [None, None, Unavailable]
    asked.answer(0)
    assert asked.questions == [[1], [4]]
    assert outcomes == [10, Unavailable, Unavailable]


def test_those_who_have_waited_too_long() -> None:
    """Who has waited for long already is not asked for any more, and those who
    have not are."""
    asked, clock = Asked(), Clock()
    batches: BatchQueue[int, int] = BatchQueue(asked, clock.seconds)
    answers = [batches.ask(question) for question in (1, 2)]
    clock.advance(MAX_WAIT_SECONDS)
    answers.append(batches.ask(3))
    outcomes = _outcomes(answers)
    clock.advance(MAX_WAIT_SECONDS / 2)
    asked.answer(0)
    assert asked.questions == [[1], [3]]
    assert outcomes == [10, Unavailable, None]


def test_all_have_waited_too_long() -> None:
    """When nobody is left to ask for, the next one is asked for at once."""
    asked, clock = Asked(), Clock()
    batches: BatchQueue[int, int] = BatchQueue(asked, clock.seconds)
    outcomes = _outcomes([batches.ask(question) for question in (1, 2)])
    clock.advance(MAX_WAIT_SECONDS * 2)
    asked.answer(0)
    assert outcomes == [10, Unavailable]
    batches.ask(3)
    assert asked.questions == [[1], [3]]
