"""A register with compare-and-swap, and whether a history is one of its.

An object is such a register: what is read is what was written last. Clients see
only when their requests began and ended. Their history is linearizable if each
request can be given a moment between the two so that all together make sense one
after the other (Herlihy and Wing). The search is that of Wing and Gong, with the
memory of configurations that Lowe added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from attrs import frozen

NEVER = float("inf")

MOST_CONFIGURATIONS = 2_000_000
"""How many the search looks at, which takes about a minute. The number grows
exponentially with that of requests without an answer."""

Value = int | None
"""What was written, each time something else; ``None`` while there is no object."""


class Kind(Enum):
    """What a request asks for."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"


@frozen
class Anything:
    """Stands for whatever value the register has: there was no condition."""


ANYTHING = Anything()


@frozen
class Operation:
    """A request, and what was answered.

    :ivar value: what was read, or is to be written.
    :ivar expected: the condition: the register has this value, or with
        ``absent_expected`` none.
    :ivar done: whether the answer says that it was done (``True``), that the
        condition did not hold (``False``), or nothing (``None``): then it may
        have been done at any time after its beginning, or never.
    :ivar seen: the value that a refusal has told of, if it has.
    :ivar began: seconds.
    :ivar ended: seconds; :data:`NEVER` if nothing was answered.
    """

    kind: Kind
    value: Value = None
    expected: Value | Anything = ANYTHING
    done: bool | None = True
    seen: Value | Anything = ANYTHING
    began: float = 0.0
    ended: float = NEVER


def step(operation: Operation, value: Value) -> Iterator[Value]:
    """Return the values that the register may have after an operation, none if the
    answer is impossible."""
    if operation.kind is Kind.READ:
        if operation.value == value:
            yield value
        return
    holds = operation.expected is ANYTHING or operation.expected == value
    if operation.done is False:
        if not holds and operation.seen in (ANYTHING, value):
            yield value
    elif holds:
        yield operation.value if operation.kind is Kind.WRITE else None


def explain(
    history: Sequence[Operation], before: Value = None, most: int = MOST_CONFIGURATIONS
) -> str | None:
    """Look for an order in which a history makes sense.

    :param before: what the register held before it.
    :param most: how many configurations to look at.
    :return: ``None`` if there is one, else how far the search has come.
    """
    operations = sorted(_that_matter(history), key=lambda each: each.began)
    certain = sum(1 << n for n, each in enumerate(operations) if each.done is not None)
    visited = _Visited(certain)
    waiting = [(0, before)]
    furthest = 0
    while waiting:
        most -= 1
        if most < 0:
            return f"no order was found for {len(history)} operations before giving up"
        done, value = waiting.pop()
        if done & certain == certain:
            return None
        furthest = max(furthest, done & certain, key=int.bit_count)
        # What is tried first is at the end: certain ones, in their order.
        following = []
        for n in _candidates(operations, done):
            for after in step(operations[n], value):
                following.append((operations[n].done is None, n, after))
        for _, n, after in sorted(following, key=lambda each: each[:2], reverse=True):
            if visited.is_new(done | 1 << n, after):
                waiting.append((done | 1 << n, after))
    left = [
        each
        for n, each in enumerate(operations)
        if certain >> n & 1 and not furthest >> n & 1
    ]
    return f"no order for {len(left)} of {len(history)} operations, such as {left[:5]}"


def _that_matter(history: Sequence[Operation]) -> Sequence[Operation]:
    """Leave out what may have been written, but nobody has ever seen: without it an
    order makes as much sense. Most of what is not answered is of that kind."""
    seen: set[object] = set()
    for each in history:
        seen.add(each.expected)
        if each.kind is Kind.READ:
            seen.add(each.value)
        elif each.done is False:
            if each.seen is ANYTHING:  # perhaps one of these
                return history
            seen.add(each.seen)
    return [
        each
        for each in history
        if each.kind is not Kind.WRITE or each.done is not None or each.value in seen
    ]


class _Visited:
    """The configurations that need not be looked at again.

    Where fewer of the operations without an answer have been done, more can still
    be done: it is enough to have looked at those.
    """

    def __init__(self, certain: int) -> None:
        self._certain = certain
        self._uncertain: dict[tuple[int, Value], list[int]] = {}

    def is_new(self, done: int, value: Value) -> bool:
        """Say whether a configuration has to be looked at, and remember it."""
        others = self._uncertain.setdefault((done & self._certain, value), [])
        uncertain = done & ~self._certain
        if any(other & uncertain == other for other in others):
            return False
        others.append(uncertain)
        return True


def _candidates(operations: Sequence[Operation], done: int) -> Iterator[int]:
    """Return what may come next: whatever began before the first of those that are
    left has ended."""
    first_end = NEVER
    for n, each in enumerate(operations):
        if each.began > first_end:
            return
        if not done >> n & 1:
            yield n
            first_end = min(first_end, each.ended)
