"""The checker finds what is wrong, and only that."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from tests.system.faults.register import (
    ANYTHING,
    NEVER,
    Kind,
    Operation,
    Value,
    explain,
)

R, W, D = Kind.READ, Kind.WRITE, Kind.DELETE


def op(
    kind: Kind, value: Value, began: float, ended: float, **more: object
) -> Operation:
    return Operation(kind, value, began=began, ended=ended, **more)  # type: ignore[arg-type]


GOOD = {
    "nothing": [],
    "absent": [op(R, None, 0, 1)],
    "one after the other": [
        op(W, 1, 0, 1),
        op(R, 1, 2, 3),
        op(W, 2, 4, 5),
        op(R, 2, 6, 7),
    ],
    "deleted": [op(W, 1, 0, 1), op(D, None, 2, 3), op(R, None, 4, 5)],
    "read while it is written": [op(W, 1, 0, 9), op(R, None, 1, 2), op(R, 1, 3, 4)],
    "overlapping writes in either order": [
        op(W, 1, 0, 5),
        op(W, 2, 1, 4),
        op(R, 2, 6, 7),
    ],
    "swapped": [op(W, 1, 0, 1), op(W, 2, 2, 3, expected=1), op(R, 2, 4, 5)],
    "created": [
        op(W, 1, 0, 1, expected=None),
        op(W, 2, 2, 3, expected=None, done=False),
    ],
    "one of two swaps": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 6, expected=1),
        op(W, 3, 2, 6, expected=1, done=False, seen=2),
    ],
    "never answered, done": [op(W, 1, 0, NEVER, done=None), op(R, 1, 5, 6)],
    "never answered, not done": [op(W, 1, 0, NEVER, done=None), op(R, None, 5, 6)],
    "never answered, done late": [
        op(W, 1, 0, NEVER, done=None),
        op(R, None, 5, 6),
        op(R, 1, 7, 8),
    ],
    "refused for what was never answered": [
        op(W, 1, 0, 1),
        op(W, 2, 2, NEVER, done=None),
        op(W, 3, 4, 5, expected=1, done=False),
    ],
}

BAD = {
    "never written": [op(R, 1, 0, 1)],
    "lost": [op(W, 1, 0, 1), op(R, None, 2, 3)],
    "stale": [op(W, 1, 0, 1), op(W, 2, 2, 3), op(R, 1, 4, 5)],
    "back again": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 9),
        op(R, 2, 3, 4),
        op(R, 1, 5, 6),
    ],
    "seen before it was sent": [op(R, 1, 0, 1), op(W, 1, 2, 3)],
    "back from the dead": [op(W, 1, 0, 1), op(D, None, 2, 3), op(R, 1, 4, 5)],
    "both swaps": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 6, expected=1),
        op(W, 3, 2, 6, expected=1),
    ],
    "both created": [op(W, 1, 0, 5, expected=None), op(W, 2, 1, 6, expected=None)],
    "swapped what was gone": [
        op(W, 1, 0, 1),
        op(D, None, 2, 3),
        op(W, 2, 4, 5, expected=1),
    ],
    "refused without a reason": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 3, expected=1, done=False),
    ],
    "refused for something else": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 3, expected=7, done=False, seen=5),
    ],
    "done twice": [
        op(W, 1, 0, NEVER, done=None),
        op(R, 1, 2, 3),
        op(D, None, 4, 5),
        op(R, 1, 6, 7),
    ],
    "refused, and done": [
        op(W, 1, 0, 1),
        op(W, 2, 2, 3, expected=9, done=False),
        op(R, 2, 4, 5),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """What a register may do has an explanation."""
    assert explain(GOOD[name]) is None


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    """What no register does has none."""
    assert explain(BAD[name])


def simulated(
    seed: int, clients: int = 8, count: int = 120, lost_part: float = 0.1
) -> list[Operation]:
    """Return what clients of a real register see, some of whom lose answers."""
    chance = random.Random(seed)
    value: Value = None
    history: list[Operation] = []
    free_since = dict.fromkeys(range(clients), 0.0)
    known: dict[int, Value] = dict.fromkeys(range(clients))
    # One operation is done in each second.
    for moment in range(1, count):
        free = [client for client, since in free_since.items() if since < moment]
        if not free:
            continue
        client = chance.choice(free)
        kind = chance.choice([R, W, W, D])
        unconditional = kind is R or chance.random() < 0.5
        expected = ANYTHING if unconditional else known[client]
        holds = expected is ANYTHING or expected == value
        lost = kind is not R and chance.random() < lost_part
        before, after = value, {R: value, W: moment, D: None}[kind]
        began = max(free_since[client], moment - chance.random() * 10)
        ended = moment + chance.random() * 10
        history.append(
            Operation(
                kind,
                after,
                expected,
                None if lost else holds,
                ANYTHING if holds or lost else before,
                began,
                NEVER if lost else ended,
            )
        )
        value = after if holds else before
        known[client] = value
        free_since[client] = ended
    return history


@pytest.mark.parametrize("seed", range(8))
def test_histories_of_a_register(seed: int) -> None:
    """Long histories of a real register have an explanation, and none any more when
    one read or one refusal in them is another."""
    history = simulated(seed)
    assert explain(history) is None
    chance = random.Random(seed)
    reads = [n for n, each in enumerate(history) if each.kind is R]
    n = chance.choice(reads)
    history[n] = evolve(history[n], value=10_000)
    assert explain(history)


def test_many_lost_answers() -> None:
    """A history in which a third of the changes was not answered, as in an outage, is
    explained as soon; and the search is given up before it takes for ever."""
    history = simulated(1, clients=20, count=300, lost_part=0.33)
    assert explain(history, most=100_000) is None
    given_up = explain(history, most=10)
    assert given_up is not None
    assert "giving up" in given_up
