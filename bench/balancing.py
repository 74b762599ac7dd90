"""What the balancing of connections brings: workers with it and without."""

from __future__ import annotations

from bench import wrk
from bench.contest import Contest, small_objects
from bench.rows import Row, Sample
from tests.support.checkout import CHECKOUT

_WITHOUT = CHECKOUT / "bench" / "unbalanced"


def balancing_rows(contest: Contest) -> list[Row]:
    """p99 of small GETs on connections that two workers share, against workers of
    which each accepts what it can."""
    row = Row("p99 of GET 1 KiB, 2 processes", "unbalanced", "s", 1.0, at_most=True)
    load = small_objects(64)
    options = ("--processes", "2", "--log-to-stderr")
    path = {"PYTHONPATH": f"{_WITHOUT}:{CHECKOUT}"}
    with (
        contest.services.server(*options) as balanced,
        contest.services.server(*options, environment=path) as unbalanced,
    ):
        for _ in range(contest.rounds):
            for server, samples in ((balanced, row.ours), (unbalanced, row.theirs)):
                seen = wrk.measure(server.url, server.pid, load, contest.seconds)
                samples.append(Sample(seen.p99, seen.p50, seen.p99, seen.cpu))
    return [row]
