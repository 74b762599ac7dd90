"""The storage quota (PROTOCOL section 3)."""

import pytest

from tests.support.world import User, World

GROWTH = 153_600


def _refused(answer: object) -> bool:
    return (answer.status_code, answer.reason_phrase) == (402, "Quota reached")  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["blocks/a", "block/a", "a", "index/blocks"])
def test_up_to_the_last_byte(world: World, path: str) -> None:
    """What fits exactly is allowed; one byte more is 402 and changes nothing."""
    user = world.user(quota=1000)
    assert user.upload("x", b"x" * 400).status_code == 204
    assert _refused(user.upload(path, b"y" * 601))
    assert user.size == 400
    assert user.download(path).status_code == 404
    assert user.upload(path, b"y" * 600).status_code == 204
    assert user.size == 1000


def test_replaced_object_counts_no_more(world: World) -> None:
    """Only the difference between the new and the old version counts."""
    user = world.user(quota=1000)
    assert user.upload("blocks/a", b"x" * 1000).status_code == 204
    assert user.upload("blocks/a", b"y" * 1000).status_code == 204
    assert _refused(user.upload("blocks/a", b"z" * 1001))
    assert user.upload("blocks/a", b"z").status_code == 204
    assert user.size == 1


def test_metadata_may_grow_a_little(world: World) -> None:
    """Over quota an existing metadata file may grow by less than 150 KiB."""
    user = world.user(quota=1000)
    user.upload("index", b"x" * 1000)
    assert _refused(user.upload("index", b"x" * (1000 + GROWTH)))
    assert user.upload("index", b"x" * (1000 + GROWTH - 1)).status_code == 204
    assert user.size == 1000 + GROWTH - 1
    assert _refused(user.upload("other", b"x"))
    assert _refused(user.upload("other", b""))


def test_blocks_may_not_grow_over_quota(world: World) -> None:
    """Over quota blocks are refused, even ones that shrink; metadata may shrink."""
    user = world.user(quota=1000)
    user.upload("index", b"x" * 500)
    user.upload("blocks/a", b"x" * 500)
    poor = world.login(user.user_id, quota=100)
    poor._prefix = user.prefix
    assert _refused(poor.upload("blocks/a", b"x" * 100))
    assert _refused(poor.upload("blocks/b", b""))
    assert poor.upload("index", b"x" * 100).status_code == 204
    assert poor.size == 600


@pytest.mark.parametrize("path", ["blocks/a", "block/a/b"])
def test_first_segment_makes_a_block(world: World, path: str) -> None:
    """A block is what has `blocks` or `block` as its first segment."""
    user = world.user(quota=10)
    user.upload(path, b"x" * 10)
    assert _refused(user.upload(path, b"x" * 11))


@pytest.mark.parametrize("path", ["blocksx/a", "a/blocks", "Blocks/a"])
def test_all_other_objects_are_metadata(world: World, path: str) -> None:
    """Nothing else is a block."""
    user = world.user(quota=10)
    user.upload(path, b"x" * 10)
    assert user.upload(path, b"x" * 11).status_code == 204


def test_delete_frees_at_once(world: World) -> None:
    """DELETE is allowed over quota, and frees the space at once."""
    user = world.user(quota=1000)
    user.upload("index", b"x" * 1000)
    user.upload("index", b"x" * 2000)
    assert user.size == 2000
    assert user.delete("index").status_code == 204
    assert user.size == 0
    assert user.upload("blocks/a", b"x" * 1000).status_code == 204


def test_prefixes_of_a_user_share_the_quota(world: World) -> None:
    """The quota is the user's, over all prefixes; other users have their own."""
    user, other = world.user(quota=1000), world.user(quota=1000)
    first, second = user.prefix, user.new_prefix()
    assert user.client.post(f"/api/v0/files/{first}/a", content=b"x" * 600).is_success
    answer = user.client.post(f"/api/v0/files/{second}/a", content=b"x" * 600)
    assert _refused(answer)
    assert other.upload("a", b"x" * 1000).status_code == 204


def test_refusals_store_nothing(world: World) -> None:
    """An upload that is refused leaves no file behind, at whatever point."""
    user: User = world.user(quota=100_000)
    user.upload("x", b"x")
    files = sorted(world.stored(user.prefix))

    def chunks() -> object:
        yield from (b"z" * 4096 for _ in range(50))

    assert _refused(user.upload("a", b"y" * 100_001))
    assert _refused(user.upload("a", chunks()))
    assert user.upload("x", b"y" * 90_000, If_Match='"no"').status_code == 412
    assert sorted(world.stored(user.prefix)) == files
    assert world.unfinished_uploads() == []
