"""The accounting server's client (PROTOCOL section 5)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from time import time
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor

from qabel_block.accounts import accounting_server
from qabel_block.accounts.accounting_server import AccountingAuthenticator
from qabel_block.accounts.cache import CachingAuthenticator
from qabel_block.caches.memory import MemoryCache
from qabel_block.errors import Unavailable, UnknownUser
from qabel_block.model import UNLIMITED, Account
from tests.integration.ledger.support import at_once
from tests.support.accounting import AccountingDouble
from tests.support.clocks import until
from tests.support.tcp_proxy import TcpProxy

GOOD = {
    "user_id": 7,
    "active": True,
    "block_quota": 100,
    "monthly_traffic_quota": 200,
}


@pytest_twisted.async_yield_fixture
async def client(
    accounting: AccountingDouble,
) -> AsyncIterator[AccountingAuthenticator]:
    client = AccountingAuthenticator(
        reactor, accounting.url + "/", accounting.secret, timeout=1
    )
    yield client
    await client.close()


@pytest_twisted.ensureDeferred
async def test_what_is_asked(
    client: AccountingAuthenticator, accounting: AccountingDouble
) -> None:
    """The whole Authorization header or the user's ID is sent as JSON, with the
    secret and the request's ID."""
    await client.authenticate("Token known", "request-1")
    await client.account(8, "request-2")
    assert [call.body for call in accounting.calls] == [
        {"auth": "Token known"},
        {"user_id": 8},
    ]
    for number, call in enumerate(accounting.calls, 1):
        assert call.headers["apisecret"] == accounting.secret
        assert call.headers["content-type"] == "application/json"
        assert call.headers["x-request-id"] == f"request-{number}"


@pytest_twisted.ensureDeferred
async def test_what_is_answered(client: AccountingAuthenticator) -> None:
    """The answer is the account; one that is not active is one all the same."""
    assert await client.authenticate("Token known", "r") == Account(7, True, 100, 200)
    disabled = await client.account(8, "r")
    assert not disabled.active


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [400, 404])
async def test_unknown(
    client: AccountingAuthenticator, accounting: AccountingDouble, status: int
) -> None:
    """404 and 400 mean that there is no such user."""
    accounting.status = status
    with pytest.raises(UnknownUser):
        await client.account(7, "r")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [201, 204, 302, 401, 403, 429, 500, 503])
async def test_other_status(
    client: AccountingAuthenticator, accounting: AccountingDouble, status: int
) -> None:
    """Any other status is our own trouble; redirections are not followed."""
    accounting.status = status
    with pytest.raises(Unavailable) as caught:
        await client.authenticate("Token known", "r")
    assert caught.value.dependency == "accounting"
    assert len(accounting.calls) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * 1_000_000,
        *(
            json.dumps({key: GOOD[key] for key in GOOD if key != missing}).encode()
            for missing in GOOD
        ),
        *(
            json.dumps({**GOOD, **wrong}).encode()
            for wrong in (
                {"user_id": "7"},
                {"user_id": 7.5},
                {"user_id": True},
                {"user_id": -1},
                {"user_id": 2**31},
                {"active": 1},
                {"active": None},
                {"block_quota": "many"},
                {"block_quota": None},
                {"block_quota": 2**63},
                {"monthly_traffic_quota": -1},
                {"monthly_traffic_quota": 2**70},
            )
        ),
    ],
)
async def test_unusable_body(
    client: AccountingAuthenticator, accounting: AccountingDouble, body: bytes
) -> None:
    """A body that is not what was promised is our own trouble."""
    accounting.body = body
    with pytest.raises(Unavailable):
        await client.authenticate("Token known", "r")


@pytest_twisted.ensureDeferred
async def test_largest_numbers(
    client: AccountingAuthenticator, accounting: AccountingDouble
) -> None:
    """A user's ID has 31 bits, as in the ledger, and no quota is above UNLIMITED."""
    accounting.add_user("rich", 2**31 - 1, True, UNLIMITED, UNLIMITED)
    account = await client.authenticate("Token rich", "r")
    assert account == Account(2**31 - 1, True, UNLIMITED, UNLIMITED)


@pytest_twisted.ensureDeferred
async def test_another_user(
    client: AccountingAuthenticator, accounting: AccountingDouble
) -> None:
    """An answer about another user than the one asked for is our own trouble, and
    is not kept for either."""
    cached = CachingAuthenticator(client, MemoryCache(reactor), "s", reactor, time)
    accounting.body = json.dumps({**GOOD, "user_id": 8}).encode()
    with pytest.raises(Unavailable, match="another user"):
        await cached.account(7, "r")
    accounting.status = 200
    with pytest.raises(Unavailable, match="another user"):
        await client.check()
    accounting.body = accounting.status = None
    assert (await cached.account(7, "r")).active
    assert not (await cached.account(8, "r")).active


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fault", ["hang_up", "stall", "delay", "refuse"])
async def test_no_answer(
    client: AccountingAuthenticator, accounting: AccountingDouble, fault: str
) -> None:
    """A server that hangs up, stops in the middle, takes too long or is not
    there is our own trouble, within a limit of time."""
    if fault == "delay":
        accounting.delay = 3
    elif fault == "refuse":
        await client.close()
        client = AccountingAuthenticator(reactor, "http://127.0.0.1:9", "s", timeout=1)
    else:
        setattr(accounting, fault, True)
    with pytest.raises(Unavailable):
        await client.authenticate("Token known", "r")


@pytest_twisted.ensureDeferred
async def test_wrong_secret(accounting: AccountingDouble) -> None:
    """If it does not know our secret, that is our own trouble; the error has
    neither secret nor token."""
    client = AccountingAuthenticator(reactor, accounting.url, "wrong-s3cret")
    with pytest.raises(Unavailable) as caught:
        await client.authenticate("Token known", "r")
    assert "s3cret" not in str(caught.value)
    assert "known" not in str(caught.value)
    await client.close()


@pytest_twisted.ensureDeferred
async def test_recovery(
    client: AccountingAuthenticator, accounting: AccountingDouble
) -> None:
    """After any trouble the next call works again."""
    accounting.hang_up = True
    with pytest.raises(Unavailable):
        await client.account(7, "r")
    accounting.hang_up = False
    assert (await client.account(7, "r")).user_id == 7


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("seconds", "calls"), [(3600, 1), (0, 3)])
async def test_check(
    client: AccountingAuthenticator,
    accounting: AccountingDouble,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    calls: int,
) -> None:
    """Whether users can be asked for is found out by asking for one that can't be,
    though not over and over."""
    monkeypatch.setattr(accounting_server, "CHECKED_SECONDS", seconds)
    for _ in range(3):
        await client.check()
    assert [call.body for call in accounting.calls] == [{"user_id": -1}] * calls


@pytest_twisted.ensureDeferred
async def test_check_of_a_refused_secret(accounting: AccountingDouble) -> None:
    """A secret that is refused is found out, and the error does not have it."""
    client = AccountingAuthenticator(reactor, accounting.url, "wrong-s3cret")
    with pytest.raises(Unavailable, match="APISECRET") as caught:
        await client.check()
    assert "s3cret" not in str(caught.value)
    await client.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fault", ["hang_up", "status", "body"])
async def test_check_of_a_server_that_fails(
    client: AccountingAuthenticator, accounting: AccountingDouble, fault: str
) -> None:
    """A server that fails is found out."""
    values = {"hang_up": True, "status": 500, "body": b"nonsense"}
    accounting.status = 200
    setattr(accounting, fault, values[fault])
    with pytest.raises(Unavailable):
        await client.check()


@pytest_twisted.async_yield_fixture
async def behind(
    accounting: AccountingDouble,
) -> AsyncIterator[tuple[AccountingAuthenticator, TcpProxy]]:
    """A client and the network between it and the server."""
    host, port = urlsplit(accounting.url).netloc.split(":")
    with TcpProxy((host, int(port))) as network:
        client = AccountingAuthenticator(
            reactor, f"http://127.0.0.1:{network.port}", accounting.secret
        )
        yield client, network
        await client.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("deliver", [False, True])
async def test_kept_connection_is_closed(
    behind: tuple[AccountingAuthenticator, TcpProxy],
    accounting: AccountingDouble,
    deliver: bool,
) -> None:
    """A question on a kept connection that is closed just then is asked once more,
    on a new one."""
    client, network = behind
    await client.account(7, "r")
    network.cut_once_at(b"user_id", deliver)
    assert (await client.account(7, "r")).user_id == 7
    assert network.accepted == 2
    assert len(accounting.calls) == 2 + deliver


@pytest_twisted.ensureDeferred
async def test_kept_connections_are_forgotten(
    behind: tuple[AccountingAuthenticator, TcpProxy], accounting: AccountingDouble
) -> None:
    """Kept connections on which nothing arrives any more, without an end, are given
    up for new ones, all of them at once."""
    client, network = behind
    accounting.delay = 0.2
    questions = [client.account(7, "r") for _ in range(3)]
    assert await at_once(questions) == [Account(7, True, 100, 200)] * 3
    accounting.delay = 0
    network.forget()
    assert (await client.account(7, "r")).user_id == 7
    assert (await client.account(7, "r")).user_id == 7
    assert network.accepted == 4
    assert len(accounting.calls) == 5


@pytest_twisted.ensureDeferred
async def test_asked_again_only_once(
    behind: tuple[AccountingAuthenticator, TcpProxy], accounting: AccountingDouble
) -> None:
    """A question is not asked a third time, and one that was asked on a new
    connection not a second time."""
    client, network = behind
    network.cut_answers()
    with pytest.raises(Unavailable):
        await client.account(7, "r")
    assert len(accounting.calls) == 1
    network.recover()
    await client.account(7, "r")
    network.cut_answers()
    with pytest.raises(Unavailable):
        await client.account(7, "r")
    assert len(accounting.calls) == 4


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_body_that_stalls(
    behind: tuple[AccountingAuthenticator, TcpProxy], accounting: AccountingDouble
) -> None:
    """The connection of an answer that stops in the middle is closed."""
    client, network = behind
    accounting.stall = True
    client._timeout = 0.5
    with pytest.raises(Unavailable):
        await client.account(7, "r")
    await until(lambda: network.open == 0)
