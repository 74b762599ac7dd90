"""Random changes against a plain model of PROTOCOL sections 2 and 3."""

from __future__ import annotations

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.world import User, World

GROWTH = 153_600
PATHS = ["index", "a", "a/b", "blocks/x", "block/y"]
SIZES = [0, 1, 10, 1000, GROWTH - 1, GROWTH, 200_000]

paths = st.sampled_from(PATHS)
sizes = st.sampled_from(SIZES)


class Model(RuleBasedStateMachine):
    """The server beside a dictionary of objects."""

    etags = Bundle("etags")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.user: User
        self.quota = 0
        self.counter = 0

    @initialize(quota=sizes)
    def start(self, quota: int) -> None:
        self.quota = quota
        self.user = self.world.user(quota=quota)

    @property
    def used(self) -> int:
        return sum(len(body) for body, _ in self.objects.values())

    def may_store(self, path: str, size: int) -> bool:
        old = len(self.objects[path][0]) if path in self.objects else 0
        if self.used - old + size <= self.quota:
            return True
        if path.startswith("block") or path not in self.objects:
            return False
        return size - old < GROWTH

    def body(self, size: int) -> bytes:
        self.counter += 1
        return (b"%d " % self.counter * (size // 2 + 1))[:size]

    def store(self, path: str, body: bytes, allowed: bool, **headers: str) -> str:
        """Upload; see that the answer is the model's; follow it."""
        answer = self.user.upload(path, body, **headers)
        if not self.may_store(path, len(body)):
            assert answer.status_code == 402
        elif not allowed:
            self.refused(path, answer)
        else:
            assert answer.status_code == 204
            self.objects[path] = (body, answer.headers["etag"])
        return str(answer.headers.get("etag", '"none"'))

    def refused(self, path: str, answer: httpx.Response) -> None:
        assert answer.status_code == 412
        current = self.objects.get(path)
        assert answer.headers.get("etag") == (current and current[1])

    @rule(target=etags, path=paths, size=sizes)
    def upload(self, path: str, size: int) -> str:
        return self.store(path, self.body(size), True)

    @rule(target=etags, path=paths, size=sizes)
    def create(self, path: str, size: int) -> str:
        allowed = path not in self.objects
        return self.store(path, self.body(size), allowed, If_None_Match="*")

    @rule(target=etags, path=paths, size=sizes, etag=etags)
    def upload_if_match(self, path: str, size: int, etag: str) -> str:
        allowed = path in self.objects and self.objects[path][1] == etag
        return self.store(path, self.body(size), allowed, If_Match=etag)

    @rule(path=paths)
    def delete(self, path: str) -> None:
        assert self.user.delete(path).status_code == 204
        self.objects.pop(path, None)

    @rule(path=paths, etag=etags)
    def delete_if_match(self, path: str, etag: str) -> None:
        answer = self.user.delete(path, If_Match=etag)
        if path in self.objects and self.objects[path][1] == etag:
            assert answer.status_code == 204
            del self.objects[path]
        else:
            self.refused(path, answer)

    @rule(path=paths, etag=etags)
    def download_if_none_match(self, path: str, etag: str) -> None:
        answer = self.user.download(path, If_None_Match=etag)
        if path not in self.objects:
            assert answer.status_code == 404
        elif self.objects[path][1] == etag:
            assert answer.status_code == 304
        else:
            assert (answer.status_code, answer.content) == (200, self.objects[path][0])

    @rule(quota=sizes)
    def change_quota(self, quota: int) -> None:
        prefix = self.user.prefix
        self.quota = quota
        self.user = self.world.login(self.user.user_id, quota=quota)
        self.user._prefix = prefix

    @invariant()
    def size_is_the_sum(self) -> None:
        if hasattr(self, "user"):
            assert self.user.quota() == {"quota": self.quota, "size": self.used}
            assert self.user.sum_of_objects == self.used

    @rule()
    def objects_are_the_model(self) -> None:
        for path in PATHS:
            answer = self.user.download(path)
            if path in self.objects:
                body, etag = self.objects[path]
                assert (answer.content, answer.headers["etag"]) == (body, etag)
            else:
                assert answer.status_code == 404


def test_against_the_model(world: World) -> None:
    """Whatever is uploaded, overwritten, deleted, conditional or not, under
    changing quotas: the server answers and stores as the model does."""

    class ModelOfThisWorld(Model):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(
        ModelOfThisWorld,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
