"""Redis as people have it: with a password, TLS, a socket, a replica, Sentinel."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_twisted
import redis
import trustme

from qabel_block.caches.redis import RedisCache
from qabel_block.errors import Unavailable
from qabel_block.util.redis.link import REPLICA
from tests.integration.util.conftest import NewCache
from tests.support.checkout import CHECKOUT
from tests.support.clocks import until
from tests.support.documents import blocks
from tests.support.tls_proxy import TlsProxy
from tests.support.valkey import Sentinel, ValkeyServer, redis_at

SECRET = "pa55/word"
QUOTED = "pa55%2Fword"


async def _works(cache: RedisCache) -> None:
    """Wait until a cache works."""
    await until(lambda: cache._link.protocol is not None)
    await cache.set("key", "value", 60)
    assert await cache.get("key") == "value"


async def _fails(cache: RedisCache, reason: str) -> None:
    """Wait until a cache does not work, for a reason."""
    await until(lambda: reason in cache._link.reason)
    with pytest.raises(Unavailable) as caught:
        await cache.check()
    assert reason in caught.value.reason
    assert SECRET not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_password(new_cache: NewCache) -> None:
    """A password is sent; one that is refused, or missing, is named, and when it is
    right the connection is there."""
    with ValkeyServer(f"requirepass {SECRET}") as server:
        await _works(new_cache(f"redis://:{QUOTED}@127.0.0.1:{server.port}"))
        wrong = new_cache(f"redis://:wrong@127.0.0.1:{server.port}")
        await _fails(wrong, "Redis refuses the password")
        without = new_cache(f"redis://127.0.0.1:{server.port}")
        await _fails(without, "Redis wants a password")
        with redis.Redis(port=server.port, password=SECRET) as client:
            client.config_set("requirepass", "wrong")
        await _works(wrong)


@pytest_twisted.ensureDeferred
async def test_user_and_database(new_cache: NewCache) -> None:
    """A user of the access control list with no more rights than are documented logs
    in, and the database is the one that is named."""
    operating = blocks(CHECKOUT / "docs/operating.md")
    (documented,) = (b.text for b in operating if b.text.startswith("user block on"))
    rights = documented.strip().replace("PASSWORD", SECRET)
    with ValkeyServer(rights) as server:
        url = f"redis://block:{QUOTED}@127.0.0.1:{server.port}/3"
        cache = new_cache(url)
        await _works(cache)
        await cache.count("count", 60)
        with redis.Redis(port=server.port, db=3, decode_responses=True) as client:
            assert {*client.keys()} == {
                "qabel-block:test:key",
                "qabel-block:test:count",
            }
        await _fails(new_cache(f"{url}000"), "Redis has no database 3000")


@pytest_twisted.ensureDeferred
async def test_rights_that_are_missing(new_cache: NewCache) -> None:
    """What a user may not do is named when the cache is checked; one who may not ask
    for the role is served all the same."""
    with ValkeyServer(f"user block on >{SECRET} ~* -@all +get +setex") as server:
        await _works(new_cache(f"redis://block:{QUOTED}@127.0.0.1:{server.port}"))
    with ValkeyServer(f"user block on >{SECRET} ~* -@all +get") as server:
        cache = new_cache(f"redis://block:{QUOTED}@127.0.0.1:{server.port}")
        await until(lambda: cache._link.protocol is not None)
        with pytest.raises(Unavailable, match="Redis refuses SETEX"):
            await cache.check()


@pytest_twisted.ensureDeferred
async def test_unix_socket(new_cache: NewCache, tmp_path: Path) -> None:
    """A socket in the file system is connected to."""
    path = tmp_path / "redis.sock"
    with ValkeyServer(f"unixsocket {path}"):
        await _works(new_cache(f"unix://{path}?db=1"))


@pytest_twisted.ensureDeferred
async def test_tls(
    new_cache: NewCache,
    own_valkey: ValkeyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TLS is spoken with a server whose certificate is trusted and is for the name
    in the URL, and with no other."""
    authority, stranger = trustme.CA(), trustme.CA()
    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    def proxy(certificate: trustme.LeafCert) -> TlsProxy:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        return TlsProxy(context, own_valkey.port)

    with ExitStack() as stack:
        good = stack.enter_context(proxy(authority.issue_cert("127.0.0.1")))
        other = stack.enter_context(proxy(authority.issue_cert("192.0.2.1")))
        bad = stack.enter_context(proxy(stranger.issue_cert("127.0.0.1")))
        await _works(new_cache(f"rediss://127.0.0.1:{good.port}"))
        await _fails(
            new_cache(f"rediss://127.0.0.1:{other.port}"),
            "Redis' certificate is for another host",
        )
        await _fails(
            new_cache(f"rediss://127.0.0.1:{bad.port}"),
            "TLS with Redis fails (certificate verify failed)",
        )
        plain = new_cache(f"rediss://127.0.0.1:{own_valkey.port}")
        await _fails(plain, "Redis can't be reached")


@pytest_twisted.ensureDeferred
async def test_replica(new_cache: NewCache, own_valkey: ValkeyServer) -> None:
    """A replica counts as down, also one that was none when it was connected to;
    when it is none any more, everything works again."""
    with ValkeyServer() as primary:
        cache = new_cache(redis_at(own_valkey.port))
        await _works(cache)
        own_valkey.client.replicaof("127.0.0.1", str(primary.port))
        with pytest.raises(Unavailable, match=REPLICA):
            await cache.set("key", "value", 60)
        await _fails(cache, REPLICA)
        other = new_cache(redis_at(own_valkey.port))
        await _fails(other, REPLICA)
        own_valkey.client.replicaof("NO", "ONE")
        await _works(cache)
        await _works(other)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("loss", ["stop", "pause"])
async def test_sentinel(
    new_cache: NewCache, own_valkey: ValkeyServer, loss: str
) -> None:
    """The server is the one that Sentinel names; after a fail-over it is the new
    one, also while the old one hangs. Sentinels that are down are passed by."""
    with (
        ValkeyServer(f"replicaof 127.0.0.1 {own_valkey.port}") as replica,
        Sentinel("block", own_valkey) as sentinel,
    ):
        cache = new_cache(
            f"redis+sentinel://127.0.0.1:9,127.0.0.1:{sentinel.port}/block"
        )
        await _works(cache)
        assert own_valkey.client.keys() == ["qabel-block:test:key"]
        await until(lambda: sentinel.replicas == 1)
        getattr(own_valkey, loss)()
        await until(lambda: replica.client.role()[0] == "master")
        await until(lambda: cache._link.protocol is None)
        await _works(cache)
        assert replica.client.ttl("qabel-block:test:key") > 0


@pytest_twisted.ensureDeferred
async def test_sentinel_knows_nothing(
    new_cache: NewCache, own_valkey: ValkeyServer
) -> None:
    """That no Sentinel answers, or none knows the name, is said."""
    await _fails(new_cache("redis+sentinel://127.0.0.1:9/block"), "no Sentinel answers")
    with Sentinel("block", own_valkey) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/other"
        await _fails(new_cache(url), "Sentinel knows no master of this name")
