"""The rows of the table: one for each thing that is compared."""

from __future__ import annotations

from statistics import median

from attrs import define, field, frozen


@frozen
class Sample:
    """One round of one contestant.

    :ivar score: in the unit of the row.
    :ivar p50: seconds.
    :ivar p99: seconds.
    :ivar cpu: processor seconds for each request.
    """

    score: float
    p50: float | None = None
    p99: float | None = None
    cpu: float | None = None


@define
class Row:
    """Alternating rounds of us and of what we are compared with.

    :ivar goal: the ratio to reach; if ``at_most``, not to exceed.
    :ivar unit: of the score.
    """

    work: str
    against: str
    unit: str
    goal: float
    at_most: bool = False
    ours: list[Sample] = field(factory=list)
    theirs: list[Sample] = field(factory=list)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios: each round's two halves ran one
        after the other, so that they had the same machine."""
        return median(
            one.score / other.score
            for one, other in zip(self.ours, self.theirs, strict=True)
        )

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal

    def median(self, name: str) -> float | None:
        """Return the median of one of our figures."""
        values = [getattr(sample, name) for sample in self.ours]
        return None if None in values else median(values)


@frozen
class Figure:
    """A figure that is compared with a limit, not with somebody else.

    :ivar unit: of both.
    """

    work: str
    value: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        """Whether it is within the limit."""
        return self.value <= self.limit


@frozen
class Result:
    """All that was measured in one run.

    :ivar failed: parts of the work, as ``--only`` has them, that could not be.
    """

    rows: list[Row]
    figures: list[Figure]
    failed: list[str] = field(factory=list)
