"""Nothing that clients send gets into metrics."""

from __future__ import annotations

from uuid import uuid4

import httpx

from tests.support.metrics import scrape
from tests.support.world import User, World


def _use(world: World) -> tuple[User, list[str]]:
    """Do everything there is to do, with names never used before; return them."""
    user = world.user()
    word = uuid4().hex
    headers = {
        "X-Request-ID": f"request-{word}",
        "User-Agent": f"agent-{word}",
        "Accept": f"application/problem+json, text/{word}",
        "X-Forwarded-For": f"{word}.example",
    }
    user.client.headers.update(headers)
    user.upload(f"path-{word}", b"x")
    user.download(f"path-{word}")
    user.head(f"path-{word}")
    user.download(f"other-{word}")
    user.upload(f"path-{word}", b"x", If_Match=f'"{word}"')
    user.delete(f"path-{word}")
    user.client.request(word[:20].upper(), user.url("a"))
    user.client.get(f"/{word}?query-{word}")
    user.client.get(f"/api/v0/websocket/{user.prefix}")
    stranger = httpx.Client(base_url=world.process.url, headers=headers)
    stranger.get("/api/v0/quota/", headers={"Authorization": f"Token {word}"})
    stranger.get("/api/v0/quota/", headers={"Authorization": word})
    return user, [word, user.token, user.prefix]


def test_series_do_not_grow(world: World) -> None:
    """Other users, prefixes, paths, methods and headers make no other series."""
    _use(world)
    before = scrape(world.process)
    for _ in range(3):
        _use(world)
    after = scrape(world.process)
    assert after.values.keys() == before.values.keys()


def test_no_secret(world: World) -> None:
    """No token, prefix, path or header is shown."""
    _, words = _use(world)
    text = scrape(world.process).text
    for word in (*words, world.accounting.secret):
        assert word not in text
        assert word.upper() not in text
