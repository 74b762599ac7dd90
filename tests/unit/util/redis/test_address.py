"""What ``--redis-url`` says."""

from __future__ import annotations

import pytest

from qabel_block.util.redis.address import RedisAddress, parse_redis_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", RedisAddress((("h", 6379),))),
        ("redis://h/", RedisAddress((("h", 6379),))),
        ("redis://h:1/2", RedisAddress((("h", 1),), database=2)),
        ("redis://h?db=3", RedisAddress((("h", 6379),), database=3)),
        ("redis://[::1]:7", RedisAddress((("::1", 7),))),
        ("redis://:p%40%2F@h", RedisAddress((("h", 6379),), password="p@/")),
        ("redis://u:p:q@h", RedisAddress((("h", 6379),), user="u", password="p:q")),
        ("rediss://h", RedisAddress((("h", 6379),), tls=True)),
        ("unix:///run/r.sock", RedisAddress(path="/run/r.sock")),
        (
            "unix://u:p@/run/r%20s?db=4",
            RedisAddress(path="/run/r s", user="u", password="p", database=4),
        ),
        ("redis+sentinel://h/m", RedisAddress((("h", 26379),), master="m")),
        (
            "redis+sentinel://u:p@h,i:2,[::1]/m/5",
            RedisAddress(
                (("h", 26379), ("i", 2), ("::1", 26379)),
                master="m",
                user="u",
                password="p",
                database=5,
            ),
        ),
    ],
)
def test_urls(url: str, expected: RedisAddress) -> None:
    """Scheme, login, hosts and database are where a URL has them."""
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:6379",
        f"http://:{SECRET}@h",
        f"redis://{SECRET}@h",
        f"redis://:{SECRET}@",
        f"redis://:{SECRET}@h:0",
        f"redis://:{SECRET}@h:65536",
        f"redis://:{SECRET}@h:port",
        f"redis://:{SECRET}@h,i",
        f"redis://:{SECRET}@h/x",
        f"redis://:{SECRET}@h/1/2",
        f"redis://:{SECRET}@h/-1",
        f"redis://:{SECRET}@h/1?db=2",
        f"redis://:{SECRET}@h?ssl=no",
        f"redis://:{SECRET}@h?db=1&db=2",
        f"redis://:{SECRET}#@h",
        f"redis://:{SECRET}/@h",
        f"redis://:{SECRET}@[h",
        f"redis://:{SECRET}@h\n",
        f"rediss+sentinel://:{SECRET}@h/m",
        f"unix://:{SECRET}@run/r.sock",
        "unix://",
        "unix:///",
        f"redis+sentinel://:{SECRET}@h",
        f"redis+sentinel://:{SECRET}@h/",
        f"redis+sentinel://:{SECRET}@/m",
        f"redis+sentinel://:{SECRET}@h/m/x",
        f"redis+sentinel://:{SECRET}@h,/m",
    ],
)
def test_wrong_urls(url: str) -> None:
    """What is wrong is said in one line that has no password in it."""
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        parse_redis_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_password_does_not_show() -> None:
    """An address has no password in its repr."""
    assert SECRET not in repr(parse_redis_url(f"redis://u:{SECRET}@h"))
