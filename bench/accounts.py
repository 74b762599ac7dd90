"""Built-in accounts: many users with several tokens each, against one."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from bench import wrk
from bench.contest import Contest
from bench.rows import Row, Sample
from bench.services import Services
from bench.wrk import Load
from qabel_block.accounts.tokens import token_digest
from tests.support.server import ServerProcess

USERS = 10_000
TOKENS = 3
"""Tokens of each user."""

FIRST_ID = 100_000
WARMING_UP = 10
"""Rounds, at the most, before those that count."""

FLAT = 0.9
"""A request may cost a tenth more."""


@frozen
class _Owners:
    """Who owns so many prefixes: each a user, or all of them the same.

    :ivar name: what the names of prefixes begin with.
    """

    name: str
    users: int
    tokens: int

    def prefixes(self) -> dict[str, int]:
        """Return the owner of each prefix."""
        first = FIRST_ID if self.users > 1 else FIRST_ID - 1
        return {f"{self.name}-{n}": first + n % self.users for n in range(USERS)}

    def secrets(self) -> Iterator[tuple[str, str]]:
        """Return each prefix with each of the tokens that may write there."""
        for prefix, owner in self.prefixes().items():
            for number in range(self.tokens):
                yield prefix, _secret(owner, number)


MANY = _Owners("many", USERS, TOKENS)
ONE = _Owners("one", 1, 1)


def accounts_rows(contest: Contest) -> list[Row]:
    """GET and POST of 10,000 users with three tokens each, and the same requests where
    all prefixes are one user's: folders and rows are as many, only users are not."""
    prepare(contest.services)
    work = f"{USERS:,} users, {TOKENS} tokens each"
    get = Row(f"GET, {work}", "one user, one token", "requests/s", FLAT)
    post = Row(f"POST, {work}", "one user, one token", "requests/s", FLAT)
    with contest.services.server(builtin=True) as server:
        for owners in (MANY, ONE):
            _warm_up(contest, server, owners)
        for row, load in ((get, _get), (post, _post)):
            for _ in range(contest.rounds):
                row.ours.append(_sample(contest, server, load(MANY)))
                row.theirs.append(_sample(contest, server, load(ONE)))
    return [get, post]


def prepare(services: Services) -> None:
    """Make the users, their tokens and prefixes, and an object in each of them."""
    for owners in (MANY, ONE):
        prefixes = owners.prefixes()
        ids = sorted(set(prefixes.values()))
        services.add_accounts(
            (owner, [token_digest(_secret(owner, n)) for n in range(owners.tokens)])
            for owner in ids
        )
        services.add_prefixes(prefixes)
        services.copy_object("small", ((prefix, "0") for prefix in prefixes))
    services.vacuum()


def _secret(owner: int, number: int) -> str:
    return f"qb_{owner:011}{number:011}"


def _get(owners: _Owners) -> Load:
    return Load(paths=[f"/api/v0/files/{prefix}/0" for prefix in owners.prefixes()])


def _post(owners: _Owners) -> Load:
    return Load(
        "POST",
        32,
        body_size=1024,
        targets=[
            (f"/api/v0/files/{prefix}/", secret) for prefix, secret in owners.secrets()
        ],
    )


def _warm_up(contest: Contest, server: ServerProcess, owners: _Owners) -> None:
    """Let the server hear of all tokens, and of all owners."""
    tokens = {secret for _, secret in owners.secrets()}
    quota = Load(targets=[("/api/v0/quota/?", token) for token in tokens])
    for load, asked in ((quota, len(quota.targets)), (_get(owners), USERS)):
        done = 0
        for _ in range(WARMING_UP):
            if done < asked:
                done += wrk.measure(
                    server.url, server.pid, load, contest.seconds
                ).requests


def _sample(contest: Contest, server: ServerProcess, load: Load) -> Sample:
    seen = wrk.measure(server.url, server.pid, load, contest.seconds)
    return Sample(seen.rate, seen.p50, seen.p99, seen.cpu)
