"""Two processes against one."""

from __future__ import annotations

from bench import wrk
from bench.contest import Contest, small_objects
from bench.rows import Row, Sample


def two_processes(contest: Contest) -> list[Row]:
    """GET of 1 KiB by one process and by two: rate, and processor time of each
    request, which is what counts where the load generator needs the cores."""
    load = small_objects(64)
    rate = Row("2 processes, GET 1 KiB", "1 process", "requests/s", 1.7)
    work = Row("2 processes, CPU of a GET", "1 process", "s", 1.1, at_most=True)
    with (
        contest.services.server("--processes", "2", "--log-to-stderr") as two,
        contest.services.server("--log-to-stderr") as one,
    ):
        for _ in range(contest.rounds):
            for server, samples, costs in (
                (two, rate.ours, work.ours),
                (one, rate.theirs, work.theirs),
            ):
                seen = wrk.measure(server.url, server.pid, load, contest.seconds)
                samples.append(Sample(seen.rate, seen.p50, seen.p99, seen.cpu))
                costs.append(Sample(seen.cpu, seen.p50, seen.p99, seen.cpu))
    return [rate, work]
