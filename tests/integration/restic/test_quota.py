"""The quotas of PROTOCOL section 11, by requests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.integration.restic.client import RepositoryClient, id_of
from tests.support.world import World

Connect = Callable[..., RepositoryClient]

MIB = 2**20
FULL = (507, "Storage quota reached")
CONTROL = ("locks", "index", "snapshots")


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.reason_phrase


@pytest.mark.parametrize("path", ["data", "keys", "config"])
def test_full(connect: Connect, world: World, path: str) -> None:
    """What does not fit into the quota is refused, with its length or without."""
    repository = connect(world.user(quota=100))
    body = b"x" * 101
    name = path if path == "config" else f"{path}/{id_of(body)}"
    assert said(repository.post(name, body)) == FULL
    assert said(repository.post(name, iter([body[:50], body[50:]]))) == FULL
    fits = b"x" * 100
    name = path if path == "config" else f"{path}/{id_of(fits)}"
    assert repository.post(name, fits).status_code == 200
    assert repository.post(name, fits).status_code == 200  # changes nothing


def test_control_files(connect: Connect, world: World) -> None:
    """Locks, index and snapshots are stored beyond the quota, together up to 64 MiB
    and 5 % of what the user stores."""
    user = world.user(quota=10 * MIB)
    repository = connect(user)
    repository.store("data", b"d" * 10 * MIB)
    # 64 MiB and 5 % of 10, then of 70.
    for kind in CONTROL:
        assert repository.store(kind, b"1" * 20 * MIB).status_code == 200
    more = 64 * MIB + 70 * MIB // 20 - 60 * MIB
    for kind in CONTROL:
        assert said(repository.store(kind, b"2" * (more + 1))) == FULL
    assert repository.store("index", b"2" * more).status_code == 200
    for kind in CONTROL:
        assert said(repository.store(kind, b"x" * MIB)) == FULL
    assert said(repository.store("data", b"x")) == FULL
    assert user.size == user.sum_of_objects


def test_lowered_quota(connect: Connect, world: World) -> None:
    """After the quota was lowered the repository is still locked and pruned."""
    user = world.user(quota=1000)
    connect(user).store("data", b"d" * 1000)
    repository = connect(world.login(user.user_id, quota=10))
    for kind in CONTROL:
        assert repository.store(kind, b"c" * 100).status_code == 200
    assert said(repository.store("data", b"x")) == FULL
    assert said(repository.store("keys", b"x")) == FULL
    assert repository.delete(f"data/{id_of(b'd' * 1000)}").status_code == 200


def test_each_repository_has_its_own_reserve(connect: Connect, world: World) -> None:
    """The control files of one repository do not count for another."""
    user = world.user(quota=0)
    body = b"i" * 60 * MIB
    for name in ("one", "two"):
        repository = connect(user, name)
        assert repository.store("index", body).status_code == 200
        # 5 % of what the user stores, both of them, is not 7 MiB more.
        assert said(repository.store("locks", b"x" * 11 * MIB)) == FULL


def test_parallel(connect: Connect, world: World) -> None:
    """Uploads at the same time can't add up to more than the rule allows."""
    user = world.user(quota=0)
    repositories = [connect(user) for _ in range(8)]

    def store(number: int) -> int:
        repository = repositories[number % 8]
        return repository.store("index", b"%02d" % number * 4 * MIB).status_code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(store, range(16)))
    assert set(answers) == {200, 507}
    assert user.size == user.sum_of_objects == answers.count(200) * 8 * MIB
    # The eighth makes it full; 5 % of 56 MiB are not enough for a ninth.
    assert answers.count(200) == 8


def test_traffic(connect: Connect, world: World) -> None:
    """When the month's traffic is used up nothing is read, but all else works."""
    user = world.user(traffic=10)
    repository = connect(user)
    body = b"x" * 11
    repository.store("data", body)
    file = f"data/{id_of(body)}"
    assert repository.get(file).content == body
    refused = (403, "Traffic quota of this month reached")
    assert said(repository.get(file)) == refused
    assert repository.list("data") == {id_of(body): 11}
    assert repository.store("data", b"y").status_code == 200
    assert repository.delete(file).status_code == 200
