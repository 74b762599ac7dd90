"""What is particular to push through Redis: it can be the wrong one, and anybody
who may publish there may publish anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
import pytest_twisted
import redis
from attrs import define, field
from twisted.internet import reactor

from qabel_block.errors import Unavailable
from qabel_block.model import ChangeEvent, ObjectName
from qabel_block.push.hub import Hub
from qabel_block.push.redis import SPLIT, RedisNotifier
from qabel_block.util.redis.link import REPLICA
from tests.integration.ledger.support import logged
from tests.support.clocks import sleep, until
from tests.support.tcp_proxy import TcpProxy
from tests.support.valkey import ValkeyServer, redis_at


@define(eq=False)
class Socket:
    """A subscriber."""

    prefix: str
    path: str | None = None
    heard: list[bytes] = field(factory=list)
    ended: list[int] = field(factory=list)

    def tell(self, message: bytes) -> None:
        self.heard.append(message)

    def end(self, code: int, reason: str) -> None:
        self.ended.append(code)


class Node:
    """A node's part in push."""

    def __init__(self, port: int, identity: str = "test") -> None:
        async def known() -> str:
            return identity

        self.notifier = RedisNotifier(reactor, redis_at(port), known)
        self.hub = Hub(self.notifier)
        self.hub.start()

    async def works(self) -> None:
        while True:
            try:
                await self.notifier.check()
                return
            except Unavailable:
                await sleep(0.05)

    async def listen(self, prefix: str) -> Socket:
        socket = Socket(prefix)
        await self.hub.add(socket)
        return socket

    def change(self, prefix: str) -> None:
        self.hub.publish(ChangeEvent(ObjectName(prefix, "a"), None))


NewNode = Callable[..., Node]


@pytest_twisted.async_yield_fixture
async def new_node() -> AsyncIterator[NewNode]:
    """Makes nodes, which are closed at the end."""
    made: list[Node] = []

    def new(*arguments: object) -> Node:
        made.append(Node(*arguments))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for one in made:
        await one.notifier.close()


@pytest.fixture
def p() -> str:
    return uuid4().hex


@pytest_twisted.ensureDeferred
async def test_strange_messages(
    new_node: NewNode, own_valkey: ValkeyServer, p: str
) -> None:
    """A message that is no event of its prefix is ignored and logged; all others
    arrive, and no connection is lost."""
    node = new_node(own_valkey.port)
    await node.works()
    socket = await node.listen(p)
    strange: tuple[str | bytes, ...] = (
        *("no JSON", "", "[]", "7", "{}", '{"path": 7}', "[" * 100_000),
        *('{"path": "other/a"}', f'{{"path": "{p}"}}', b"\xff\xfe"),
    )
    with logged() as events, redis.Redis(port=own_valkey.port) as client:
        for message in strange:
            assert client.publish(f"qabel-block:test:push:{p}", message) == 1
        node.change(p)
        await until(lambda: socket.heard)
    assert len(socket.heard) == 1
    assert socket.ended == []
    assert len([one for one in events if "ignored" in one["log_format"]]) == len(
        strange
    )
    assert not any("log_failure" in event for event in events)


@pytest_twisted.ensureDeferred
async def test_two_installations(
    new_node: NewNode, own_valkey: ValkeyServer, p: str
) -> None:
    """Two installations on one Redis do not hear each other."""
    ours, theirs = new_node(own_valkey.port), new_node(own_valkey.port, "other")
    for node in (ours, theirs):
        await node.works()
    socket, other = await ours.listen(p), await theirs.listen(p)
    theirs.change(p)
    ours.change(p)
    await until(lambda: socket.heard and other.heard)
    for node in (ours, theirs):
        await node.notifier.check()
    assert len(socket.heard) == len(other.heard) == 1


@pytest_twisted.ensureDeferred
async def test_replica(new_node: NewNode, own_valkey: ValkeyServer, p: str) -> None:
    """When Redis has become a replica, sockets end with 1013, and nobody can listen;
    what was published just before ends those of other nodes too, later."""
    with ValkeyServer() as primary, TcpProxy(("127.0.0.1", own_valkey.port)) as network:
        node, other = new_node(own_valkey.port), new_node(network.port)
        for one in (node, other):
            await one.works()
        socket = await node.listen(p)
        own_valkey.client.replicaof("127.0.0.1", str(primary.port))
        node.change(p)
        with pytest.raises(Unavailable, match=REPLICA):
            await node.notifier.check()
        assert socket.ended == [1013]
        with pytest.raises(Unavailable, match=REPLICA):
            await node.listen("other")
        assert node.notifier.connections() == 0
        # The other one goes where the new primary is.
        network.upstream = ("127.0.0.1", primary.port)
        network.cut()
        await other.works()
        elsewhere = await other.listen(p)
        await until(lambda: other.notifier._subscribed)
        own_valkey.client.replicaof("NO", "ONE")
        network.upstream = ("127.0.0.1", own_valkey.port)
        await node.works()
        network.cut()
        await until(lambda: elsewhere.ended)


@pytest_twisted.ensureDeferred
async def test_split(new_node: NewNode, own_valkey: ValkeyServer, p: str) -> None:
    """That a node publishes to one server and hears from another is noticed by what
    does not arrive; then both connections are made anew."""
    with ValkeyServer() as new, TcpProxy(("127.0.0.1", own_valkey.port)) as network:
        node = new_node(network.port)
        await node.works()
        socket = await node.listen(p)
        network.upstream = ("127.0.0.1", new.port)
        node.notifier._publisher.protocol.transport.abortConnection()
        await until(lambda: node.notifier.connections() < 2)
        await until(lambda: node.notifier.connections() == 2)
        with pytest.raises(Unavailable, match=SPLIT):
            await node.notifier.check()
        assert socket.ended == [1013]
        await node.works()
        socket = await node.listen(p)
        node.change(p)
        await until(lambda: socket.heard)


@pytest_twisted.ensureDeferred
async def test_what_may_not_have_arrived(
    new_node: NewNode, own_valkey: ValkeyServer, p: str
) -> None:
    """After a connection is lost everybody everywhere is told, if something was
    published on it that nobody can be sure of."""
    with TcpProxy(("127.0.0.1", own_valkey.port)) as network:
        node, other = new_node(network.port), new_node(own_valkey.port)
        for one in (node, other):
            await one.works()
        socket = await other.listen(p)
        network.cut()
        await until(lambda: node.notifier.connections() == 0)
        await node.works()
        await other.notifier.check()
        assert socket.ended == []
        node.change(p)
        await until(lambda: socket.heard)
        network.cut()
        await until(lambda: socket.ended == [1013])
