"""The rule of PROTOCOL section 11 beside a plain model, with many uploads at once."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest_twisted
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from qabel_block.errors import QuotaReached
from qabel_block.ledger.ledger import Ledger
from qabel_block.ledger.repositories import RepositoryTable
from qabel_block.model import Account, ObjectName, WriteState
from qabel_block.operations.repositories import RepositoryUpload
from qabel_block.rules.conditions import UNCONDITIONAL
from tests.integration.ledger.support import MovableTime, at_once, noted
from tests.support.blocking import now
from tests.support.database import query
from tests.support.state_machines import run_state_machine, sqlite_ledger

MIB = 2**20
KINDS = ("data", "keys", "locks", "snapshots", "index")
CONTROL = ("locks", "snapshots", "index")
SIZES = (0, 1, 5 * MIB, 30 * MIB, 64 * MIB, 500 * MIB)
QUOTAS = (0, 50 * MIB, 1000 * MIB)

_users = itertools.count(1)

File = tuple[int, str]
"""Which of the user's repositories, and the path in it."""


def allowed(files: dict[File, int], quota: int, file: File, size: int) -> bool:
    """The rule, in the words of the protocol."""
    stored = sum(files.values())
    if stored + size <= quota:
        return True
    repository, path = file
    if path.partition("/")[0] not in CONTROL:
        return False
    together = sum(
        there
        for (other, path), there in files.items()
        if other == repository and path.partition("/")[0] in CONTROL
    )
    return together + size <= 64 * MIB + stored * 5 // 100


class FullRepositories(RuleBasedStateMachine):
    """Two repositories of one user, on a real ledger."""

    def __init__(self, dsn: str, ledger: Ledger, table: RepositoryTable) -> None:
        super().__init__()
        self.dsn, self.ledger, self.table = dsn, ledger, table
        self.files: dict[File, int] = {}
        self.numbers = itertools.count()
        self.user = 0
        self.quota = 0

    @initialize(quota=st.sampled_from(QUOTAS))
    def start(self, quota: int) -> None:
        self.user, self.quota = next(_users), quota
        self.prefixes = [f"repository-{self.user}-{n}" for n in range(2)]
        for prefix in self.prefixes:
            assert now(self.table.create(self.user, prefix[-20:], prefix))

    @rule(
        uploads=st.lists(
            st.tuples(
                st.integers(0, 1), st.sampled_from(KINDS), st.sampled_from(SIZES)
            ),
            min_size=1,
            max_size=6,
        )
    )
    def upload(self, uploads: list[tuple[int, str, int]]) -> None:
        """Store files, all at the same time."""
        account = Account(self.user, True, self.quota, 0)
        names = [
            (repository, f"{kind}/{next(self.numbers):064x}")
            for repository, kind, _ in uploads
        ]

        async def store(file: File, size: int) -> None:
            name = self.object(file)
            upload = RepositoryUpload(account, name, UNCONDITIONAL, None, frozenset())
            blob = await noted(self.ledger, name, size)

            def decide(state: WriteState) -> None:
                upload.decide(state, size)

            await self.ledger.commit_upload(name, blob, decide, None)

        outcomes = now(
            at_once(
                store(file, size)
                for file, (_, _, size) in zip(names, uploads, strict=True)
            )
        )
        for file, (_, _, size), outcome in zip(names, uploads, outcomes, strict=True):
            if allowed(self.files, self.quota, file, size):
                assert outcome is None
                self.files[file] = size
            else:
                assert isinstance(outcome, QuotaReached)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a file, which is always allowed."""
        if self.files:
            file = data.draw(st.sampled_from(sorted(self.files)))
            now(self.ledger.delete(self.object(file), lambda state: None))
            del self.files[file]

    @rule(quota=st.sampled_from(QUOTAS))
    def grant(self, quota: int) -> None:
        """Change the quota."""
        self.quota = quota

    @invariant()
    def adds_up(self) -> None:
        if self.user:
            stored = query(
                self.dsn, f"SELECT size FROM users WHERE user_id = {self.user}"
            )
            assert (stored or [(0,)]) == [(sum(self.files.values()),)]

    def object(self, file: File) -> ObjectName:
        return ObjectName(self.prefixes[file[0]], file[1])


@pytest_twisted.ensureDeferred
async def test_rule(tmp_path: Path) -> None:
    """Whatever is stored, deleted and granted, also at the same time: what is taken
    and what is refused is what the rule says, one upload after the other."""
    async with sqlite_ledger(tmp_path) as file:
        ledger = Ledger(file.database, MovableTime())
        table = RepositoryTable(file.database)
        machine = partial(FullRepositories, file.dsn, ledger, table)
        await run_state_machine(machine, steps=15)
