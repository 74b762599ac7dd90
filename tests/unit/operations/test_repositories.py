"""What may be done to repositories, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from qabel_block.errors import (
    AlreadyStored,
    ControlSizeNeeded,
    NotOwner,
    NotPermitted,
    QuotaReached,
    RepositoryNotFound,
    UserDisabled,
)
from qabel_block.model import (
    Account,
    Change,
    ObjectName,
    Permission,
    StoredObject,
    WriteState,
)
from qabel_block.operations.repositories import Repositories, RepositoryUpload
from qabel_block.operations.usage import no_usage_log
from qabel_block.rules.conditions import UNCONDITIONAL

OWNER = 7
STORED = StoredObject("p/data/1~1", 9, '"e1"', "0" * 64)
MIB = 2**20


def account(permission: Permission = Permission.FULL, active: bool = True) -> Account:
    return Account(OWNER, active, 100, 100, permission=permission)


def decide(path: str, state: WriteState, size: int) -> None:
    name = ObjectName("p", path)
    RepositoryUpload(account(), name, UNCONDITIONAL, size, frozenset()).decide(
        state, size
    )


def test_never_replaced() -> None:
    """What is there is not replaced, whether or not there is room for more."""
    for size in (1, 1000):
        with pytest.raises(AlreadyStored) as caught:
            decide("data/1", WriteState(OWNER, 100, STORED), size)
        assert (caught.value.etag, caught.value.sha256) == ('"e1"', "0" * 64)


def test_only_full_repositories_cost_more() -> None:
    """How large control files are is asked only for one that does not fit."""
    decide("locks/1", WriteState(OWNER, 90, None), 10)
    with pytest.raises(ControlSizeNeeded):
        decide("locks/1", WriteState(OWNER, 90, None), 11)
    decide("locks/1", WriteState(OWNER, 90, None, control=64 * MIB - 11), 11)
    with pytest.raises(QuotaReached):
        decide("locks/1", WriteState(OWNER, 0, None, control=64 * MIB), 101)
    for path in ("data/1", "keys/1", "config"):
        with pytest.raises(QuotaReached):
            decide(path, WriteState(OWNER, 90, None), 11)


def test_somebody_elses() -> None:
    """The prefix must be the user's own; one that is gone is claimed by nobody."""
    with pytest.raises(NotOwner):
        decide("data/1", WriteState(OWNER + 1, 0, None), 1)
    anybody = Account(0, True, 1, 1, any_prefix=True)
    name = ObjectName("p", "data/1")
    upload = RepositoryUpload(anybody, name, UNCONDITIONAL, 1, frozenset())
    assert upload.claim_for is None


class Parts:
    """A table with one repository, a ledger and uploads that take note."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def prefix(self, _user_id: int, name: str) -> str | None:
        return "p" if name == "there" else None

    async def create(self, _user_id: int, name: str, _prefix: str) -> None:
        self.done.append(f"create {name}")

    async def delete(self, name: ObjectName, decide: Callable[..., None]) -> Change:
        decide(WriteState(OWNER, 9, STORED))
        self.done.append(f"delete {name}")
        return Change(OWNER, -9)

    async def store(self, upload: RepositoryUpload, *_how: object) -> str:
        self.done.append(f"store {upload.name}")
        return '"e1"'


async def same() -> Account:
    """Say that the account is as it was."""
    return account()


def repositories() -> tuple[Repositories, list[str]]:
    parts: Any = Parts()
    return Repositories(parts, parts, parts, no_usage_log), parts.done


APPEND_ONLY, READ_ONLY = Permission.APPEND_ONLY, Permission.READ_ONLY


@pytest.mark.parametrize("path", ["config", "data/1", "keys/1", "index/1", "locks/1"])
@pytest.mark.parametrize("permission", Permission)
@pytest_twisted.ensureDeferred
async def test_delete(permission: Permission, path: str) -> None:
    """An append-only token deletes locks, a read-only one nothing."""
    operations, done = repositories()
    if permission is READ_ONLY or (permission is APPEND_ONLY and path != "locks/1"):
        with pytest.raises(NotPermitted):
            await operations.delete(account(permission), "there", path)
        assert done == []
    else:
        await operations.delete(account(permission), "there", path)
        assert done == [f"delete p/{path}"]


@pytest.mark.parametrize("permission", Permission)
@pytest_twisted.ensureDeferred
async def test_store_and_create(permission: Permission) -> None:
    """A read-only token stores and creates nothing."""
    operations, done = repositories()
    body: Any = object()
    stated = frozenset[str]()
    arguments = (account(permission), "there", "locks/1", None, stated, body, same)
    if permission is READ_ONLY:
        with pytest.raises(NotPermitted):
            await operations.store(*arguments)
        for name in ("there", "new"):
            with pytest.raises(NotPermitted):
                await operations.create(account(permission), name)
        assert done == []
    else:
        await operations.store(*arguments)
        await operations.create(account(permission), "there")
        await operations.create(account(permission), "new")
        assert done == ["store p/locks/1", "create new"]


@pytest_twisted.ensureDeferred
async def test_disabled_and_missing() -> None:
    """A disabled user stores nothing; without the repository there is nothing to
    store in, to find or to delete."""
    operations, done = repositories()
    body: Any = object()
    with pytest.raises(UserDisabled):
        await operations.store(
            account(active=False), "there", "config", None, frozenset(), body, same
        )
    with pytest.raises(RepositoryNotFound):
        await operations.store(
            account(), "new", "config", None, frozenset(), body, same
        )
    with pytest.raises(RepositoryNotFound):
        await operations.file(account(), "new", "config")
    await operations.delete(account(), "new", "config")
    assert done == []
