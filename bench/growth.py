"""What a request costs when there are many objects, or many users."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from bench import wrk
from bench.contest import AUTHORIZATION, Contest
from bench.rows import Row, Sample
from bench.wrk import Load

OBJECTS = (10, 1_000, 1_000_000)
USERS = (1, 100, 10_000)
ASKED = 10_000
"""How many different paths are asked for, at the most."""

WARMING_UP = 10
"""Rounds, at the most, before one that counts."""

FLAT = 1 / 1.2
"""A request may cost a fifth more."""


@frozen
class Growth:
    """Requests when there is little, and the same when there is much.

    The objects are rows of the ledger that share one blob: the question is what
    the ledger, the caches and the accounts make of many.
    """

    contest: Contest

    def rows(self) -> list[Row]:
        """Measure all of it."""
        self._prepare()
        few, one = _objects(OBJECTS[0]), _users(USERS[0])
        return [
            *(
                self._compare(f"GET with {count:,} objects in the prefix", few, many)
                for count, many in ((n, _objects(n)) for n in OBJECTS[1:])
            ),
            self._compare(
                f"POST with {OBJECTS[-1]:,} objects in the prefix",
                _upload(f"objects-{OBJECTS[0]}"),
                _upload(f"objects-{OBJECTS[-1]}"),
            ),
            *(
                self._compare(f"GET with {count:,} users", one, many)
                for count, many in ((n, _users(n)) for n in USERS[1:])
            ),
        ]

    def _prepare(self) -> None:
        services = self.contest.services
        owners = {f"objects-{count}": 1 for count in OBJECTS}
        users = [_prefix(user) for user in range(USERS[-1])]
        for user_id, prefix in enumerate(users, 1000):
            services.accounting.add_user(prefix, user_id)
            owners[prefix] = user_id
        services.add_prefixes(owners)
        for count in OBJECTS:
            names = ((f"objects-{count}", str(n)) for n in range(count))
            services.copy_object("small", names)
        services.copy_object("small", ((prefix, "0") for prefix in users))
        services.vacuum()

    def _compare(self, work: str, few: Load, many: Load) -> Row:
        least = OBJECTS[0] if "objects" in work else USERS[0]
        row = Row(work, f"with {least}", "requests/s", FLAT)
        for _ in range(self.contest.rounds):
            row.ours.append(self._sample(many))
            row.theirs.append(self._sample(few))
        return row

    def _sample(self, load: Load) -> Sample:
        server = self.contest.server
        for _ in range(WARMING_UP):
            # Until all accounts are known, as they are when users are busy.
            seen = wrk.measure(server.url, server.pid, load, self.contest.seconds)
            if seen.requests >= len(load.paths):
                break
        seen = wrk.measure(server.url, server.pid, load, self.contest.seconds)
        return Sample(seen.rate, seen.p50, seen.p99, seen.cpu)


def _prefix(user: int) -> str:
    return f"user-{user}"


def _get(paths: Sequence[str]) -> Load:
    return Load(paths=[f"/api/v0/files/{path}" for path in paths])


def _objects(count: int) -> Load:
    step = max(1, count // ASKED)
    return _get([f"objects-{count}/{n}" for n in range(0, count, step)])


def _users(count: int) -> Load:
    return _get([f"{_prefix(user)}/0" for user in range(count)])


def _upload(prefix: str) -> Load:
    return Load(
        "POST",
        32,
        prefix=f"/api/v0/files/{prefix}/new/",
        body_size=1024,
        headers=AUTHORIZATION,
    )
