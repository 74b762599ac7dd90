"""Exactness under concurrency (PROTOCOL sections 2 and 3)."""

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

from tests.scenarios.concurrency import *  # noqa: F403
from tests.support.server import ServerProcess
from tests.support.settings import without_storage
from tests.support.world import User, World


def _together(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Make all calls at the same moment, each in its own thread."""
    barrier = threading.Barrier(len(calls), timeout=60)

    def run(call: Callable[[], httpx.Response]) -> httpx.Response:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@without_storage
def test_one_of_twelve_writers_wins(world: World, second_server: ServerProcess) -> None:
    """12 writers with the same If-Match, 15 rounds, through two processes on
    one database: exactly one wins each round, and what it wrote is there."""
    first = world.user()
    second = world.login(first.user_id, server=second_server)
    second._prefix = first.prefix
    etag = first.upload("index", b"start").headers["etag"]
    for turn in range(15):
        writers = [first, second] * 6

        def write(user: User, number: int) -> httpx.Response:
            body = f"{turn} {number}".encode()  # noqa: B023
            return user.upload("index", body, If_Match=etag)  # noqa: B023

        answers = _together([partial(write, u, n) for n, u in enumerate(writers)])
        won = [n for n, answer in enumerate(answers) if answer.status_code == 204]
        assert len(won) == 1
        assert {a.status_code for a in answers} == {204, 412}
        etag = answers[won[0]].headers["etag"]
        for user in (first, second):
            current = user.download("index")
            assert current.content == f"{turn} {won[0]}".encode()
            assert current.headers["etag"] == etag


@without_storage
def test_size_after_parallel_changes(
    world: World, second_server: ServerProcess
) -> None:
    """After parallel overwrites and deletes through two processes `size` is the
    sum of the objects, and every object has the bytes of its ETag."""
    first = world.user()
    second = world.login(first.user_id, server=second_server)
    second._prefix = first.prefix
    chance = random.Random(7)
    written: dict[str, bytes] = {}

    def change(user: User, path: str, size: int) -> httpx.Response:
        if size == 0:
            return user.delete(path)
        body = random.Random(size).randbytes(size)
        answer = user.upload(path, body)
        written[answer.headers["etag"]] = body
        return answer

    for _ in range(6):
        changes = [
            partial(change, user, chance.choice("abc"), chance.choice([0, 10, 9999]))
            for user in [first, second] * 10
        ]
        answers = _together(changes)
        assert {answer.status_code for answer in answers} == {204}
        assert first.size == second.size == first.sum_of_objects
        for path in "abc":
            current = second.download(path)
            if current.status_code == 200:
                assert current.content == written[current.headers["etag"]]


def test_prefix_is_made_once_by_dummy_user(dummy_server: ServerProcess) -> None:
    """With --dummy-auth, parallel first uploads below a new prefix all succeed,
    and add up."""
    client = httpx.Client(
        base_url=dummy_server.url,
        headers={"Authorization": "Token MAGICFARYDUST"},
        timeout=60,
    )
    before = client.get("/api/v0/quota/").json()["size"]
    answers = _together(
        [
            partial(client.post, f"/api/v0/files/new/{n}", content=b"x" * 10)
            for n in range(20)
        ]
    )
    assert {answer.status_code for answer in answers} == {204}
    assert client.get("/api/v0/quota/").json()["size"] == before + 200
