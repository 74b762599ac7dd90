"""What this server asks the accounting server, and when it fails (PROTOCOL 5)."""

import json
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest

from tests.support.accounting import Call
from tests.support.settings import without_storage
from tests.support.world import LARGE, User, World


def _calls(user: User) -> list[Call]:
    """Return the questions about a user's token."""
    auth = f"Token {user.token}"
    return [c for c in user.world.accounting.calls if c.body.get("auth") == auth]


@without_storage
def test_one_call_for_simultaneous_requests(world: World) -> None:
    """Eight simultaneous first requests with one token ask once."""
    user = world.user()
    world.accounting.delay = 0.5
    try:
        with ExitStack() as stack:
            wires = [stack.enter_context(user.wire()) for _ in range(8)]
            for wire in wires:
                wire.head("GET", "/api/v0/quota/", user.authorization)
            answers = [wire.answer() for wire in wires]
    finally:
        world.accounting.delay = 0
    assert [answer.status for answer in answers] == [200] * 8
    quotas = [json.loads(answer.body) for answer in answers]
    assert quotas == [{"quota": LARGE, "size": 0}] * 8
    assert len(_calls(user)) == 1


@without_storage
def test_request_id_is_passed_on(world: World) -> None:
    """The accounting server is told the request's ID."""
    user = world.user()
    user.client.get("/api/v0/quota/", headers={"X-Request-ID": "passed-on"})
    (call,) = _calls(user)
    assert call.headers["x-request-id"] == "passed-on"
    assert call.headers["apisecret"] == world.accounting.secret
    assert call.headers["content-type"] == "application/json"


@without_storage
def test_no_token_in_the_log(world: World) -> None:
    """Neither tokens nor the secret ever show in the log."""
    user = world.user()
    user.quota()
    user.upload("a", b"x")
    stranger = uuid4().hex
    headers = {"Authorization": f"Token {stranger}"}
    user.client.get("/api/v0/quota/", headers=headers)
    log = world.server.log()
    assert user.url("a") in log
    assert user.token not in log
    assert stranger not in log
    assert world.accounting.secret not in log


@without_storage
@pytest.mark.parametrize(
    ("fault", "value"), [("status", 500), ("hang_up", True), ("body", b"{")]
)
def test_accounting_server_down(world: World, fault: str, value: object) -> None:
    """While the accounting server is down, users it has told of go on, others
    get 503 with Retry-After."""
    known, unknown = world.user(), world.user()
    known.upload("a", b"x")
    ordinary = getattr(world.accounting, fault)
    setattr(world.accounting, fault, value)
    try:
        assert known.upload("a", b"y").status_code == 204
        assert known.download("a").content == b"y"
        answer = unknown.client.get("/api/v0/quota/")
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "accounting" in answer.json()["detail"]
        assert unknown.token not in answer.text
    finally:
        setattr(world.accounting, fault, ordinary)
    assert unknown.quota()["size"] == 0


@without_storage
def test_wrong_secret(world: World) -> None:
    """An accounting server that refuses our secret leaves the server ready, and is
    named; neither the answer nor the log has the secret."""
    client, secret = world.user().client, world.accounting.secret

    def reports(expected: object) -> bool:
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert secret not in answer.text
        return bool(answer.json() == expected)

    world.accounting.secret = "another"
    try:
        refused = {"accounts": "it refuses the APISECRET (403)"}
        world.server.wait_for(lambda: reports({"ready": True, "degraded": refused}))
    finally:
        world.accounting.secret = secret
    world.server.wait_for(lambda: reports({"ready": True}))
    assert secret not in world.server.log()


@without_storage
def test_unknown_tokens(world: World) -> None:
    """From one address so many unknown tokens are answered in a minute, and the
    accounting server is asked for hardly more; tokens that are known are served, and
    so are other addresses."""
    check_unknown_tokens(world)


def check_unknown_tokens(world: World) -> None:
    """Guess until no more is answered."""
    known = world.user().token
    before = len(world.accounting.calls)

    def ask(token: str, address: str = "192.0.2.7") -> httpx.Response:
        """Ask over a new connection, to whichever process."""
        with world.user_with(token, 0, world.server).client as client:
            return client.get("/api/v0/quota/", headers={"X-Forwarded-For": address})

    assert ask(known).status_code == 200
    answers = [ask(uuid4().hex) for _ in range(50)]
    assert [a.status_code for a in answers] == [403] * 30 + [429] * 20
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert len(world.accounting.calls) - before <= 1 + 30 + 2
    assert ask(known).status_code == 200
    assert ask(uuid4().hex, "192.0.2.8").status_code == 403
