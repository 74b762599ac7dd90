"""DESIGN's table "When something is down": every request, every dependency, every
way to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.scenarios.push import event, listen
from tests.support.server import ServerProcess, log_records
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_for
from tests.support.websocket import Socket
from tests.support.world import User, World
from tests.system.faults.conftest import Networks
from tests.system.faults.requests import LIMIT, REQUESTS, Cast, ask_everything, cast

RECOVERY_SECONDS = 10.0

DEPENDENCIES = ("redis", "accounting", "database", "storage")

ANSWERS = {
    # down:                     Redis accounting database storage
    "upload": (204, 204, 503, 503),
    "large upload": (204, 204, 503, 503),
    "overwrite": (204, 204, 503, 503),
    "download": (200, 200, 503, 503),
    "large download": (200, 200, 503, 503),
    "head": (200, 200, 503, 200),
    "delete": (204, 204, 503, 204),
    "quota": (200, 200, 503, 200),
    "prefixes": (200, 200, 503, 200),
    "new prefix": (201, 201, 503, 201),
    "upload by a stranger": (204, 503, 503, 503),
    "delete by a stranger": (204, 503, 503, 204),
    "download from a stranger": (200, 503, 503, 503),
    "listen to a prefix": (503, 101, 503, 101),
    "listen to an object": (503, 101, 101, 101),
    "readyz": (200, 200, 503, 503),
    "healthz": (200, 200, 200, 200),
}

NAMED_BY_READYZ = {
    "redis": {"cache", "push"},
    "accounting": {"accounts"},
    "database": {"database"},
    "storage": {"storage"},
}

FAULTS: dict[str, Callable[[TcpProxy], None]] = {
    "refuses": TcpProxy.refuse,
    "silent": TcpProxy.fall_silent,
    "cuts": TcpProxy.cut_answers,
}


def no_traceback(log: str) -> None:
    """See that nothing went wrong in a way that nobody had thought of."""
    assert [record for record in log_records(log) if "exception" in record] == []


@pytest.fixture
def well(networks: Networks) -> Iterator[None]:
    """Whatever a test does to the networks ends with it."""
    yield
    networks.recover()


def expected(down: str) -> dict[str, int]:
    column = DEPENDENCIES.index(down)
    return {name: answers[column] for name, answers in ANSWERS.items()}


def changed_nothing(cast: Cast, answers: dict[str, int]) -> None:
    """See that uploads which were refused have left nothing behind."""
    for name, path, before in (
        ("upload", "new", None),
        ("large upload", "new-large", None),
        ("overwrite", "other", 500),
    ):
        if answers[name] != 204:
            answer = cast.known.head(path)
            length = answer.headers.get("content-length")
            assert answer.status_code == (404 if before is None else 200), name
            assert before is None or int(length) == before
    assert cast.known.size == cast.known.sum_of_objects


def consume(socket: Socket) -> None:
    """Read events to the end."""
    while True:
        event(socket)


def all_works(user: User) -> bool:
    """Say whether nothing is missing that ``/readyz`` knows of."""
    return bool(user.client.get("/readyz").json() == {"ready": True})


def all_is_well(cast: Cast) -> bool:
    try:
        return set(ask_everything(cast).values()) <= {101, 200, 201, 204}
    except httpx.TransportError:  # a download was cut
        return False


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("down", DEPENDENCIES)
def test_one_is_down(world: World, networks: Networks, down: str, fault: str) -> None:
    """Each request gets the table's answer, in time; what is refused changes
    nothing; sockets stay open; and when it is over everything works by itself
    within ten seconds."""
    network: TcpProxy = getattr(networks, down)
    actors = cast(world)
    actors.clients_are_patient(LIMIT)
    logged = len(world.server.log())
    with listen(actors.known) as socket:
        FAULTS[fault](network)
        answers = ask_everything(actors)
        assert answers == expected(down)
        assert actors.missing == NAMED_BY_READYZ[down]
        assert socket.ping().wait(LIMIT)
        network.recover()
        if down == "redis":
            with pytest.raises(ConnectionClosed):
                consume(socket)
        wait_for(lambda: all_works(actors.known), RECOVERY_SECONDS)
        changed_nothing(actors, answers)
        if down != "redis":
            actors.known.upload("last", b"")
            while not event(socket)["path"].endswith("/last"):
                pass
    wait_for(lambda: all_is_well(actors), RECOVERY_SECONDS)
    no_traceback(world.server.log()[logged:])


def test_the_table_is_whole() -> None:
    """The table has a row for every request."""
    assert ANSWERS.keys() == REQUESTS.keys()


@pytest.mark.usefixtures("well")
@pytest.mark.parametrize("fault", ["refuses", "silent"])
def test_start_with_nothing(
    networks: Networks, options: tuple[str, ...], world: World, fault: str
) -> None:
    """A server starts without any of them, says what is missing, and serves within
    ten seconds after they have come."""
    for network in networks.all():
        FAULTS[fault](network)
    environment = world.setting.environment
    with ServerProcess(*options, environment=environment) as server:
        user = world.user(server=server)
        assert user.client.get("/healthz").status_code == 200
        answer = user.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json().keys() == {
            "ready",
            "database",
            "cache",
            "push",
            "storage",
            "accounts",
        }
        networks.recover()
        wait_for(lambda: all_works(user), RECOVERY_SECONDS)
        assert user.upload("a", b"x").status_code == 204
        assert user.download("a").content == b"x"
    no_traceback(server.log())
