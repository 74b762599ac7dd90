"""Uploads at the same time (PROTOCOL sections 2 and 3)."""

from contextlib import ExitStack

from tests.support.settings import without_storage
from tests.support.world import User, World


def _upload_together(user: User, paths: list[str], **headers: str) -> list[int]:
    """Upload a body of 1,000 bytes to each path, none before the heads of all are
    there; return the statuses of the answers in order."""
    fields = {**user.authorization, "Content-Length": "1000", **headers}
    with ExitStack() as stack:
        wires = [stack.enter_context(user.wire()) for _ in paths]
        for wire, path in zip(wires, paths, strict=True):
            wire.head("POST", user.url(path), {**fields, "Expect": "100-continue"})
        for wire in wires:
            assert wire.answer().status == 100
        for wire in wires:
            wire.send(b"x" * 1000)
        return sorted(wire.answer().status for wire in wires)


@without_storage
def test_parallel_uploads_into_a_small_quota(world: World) -> None:
    """Of 40 parallel uploads of 1,000 bytes into a quota of 10,000 10 succeed."""
    user = world.user(quota=10_000)
    paths = [f"blocks/{n}" for n in range(40)]
    assert _upload_together(user, paths) == [204] * 10 + [402] * 30
    assert user.size == user.sum_of_objects == 10_000


@without_storage
def test_one_creates(world: World) -> None:
    """Of many creators of one object exactly one succeeds."""
    headers = {"If-None-Match": "*"}
    statuses = _upload_together(world.user(), ["a"] * 10, **headers)
    assert statuses == [204] + [412] * 9
