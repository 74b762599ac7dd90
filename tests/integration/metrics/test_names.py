"""The names of the legacy server's dashboards (PROTOCOL section 7), and what
moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

from tests.support.metrics import Scrape, scrape
from tests.support.waiting import wait_for
from tests.support.world import User, World

KINDS = {
    "block_in_progress_requests": "gauge",
    "websocket_connections": "gauge",
    "pubsub_connections": "gauge",
    "block_wait_for_auth": "histogram",
    "block_wait_for_transfer_store": "histogram",
    "block_wait_for_transfer_retrieve": "histogram",
    "block_wait_for_transfer_meta": "histogram",
    "block_wait_for_transfer_delete": "histogram",
    "block_response_time": "histogram",
    "weboscket_connection_duration": "histogram",
    "websocket_connection_duration": "histogram",
    "block_s3_requests": "summary",
    "block_traffic_by_request": "summary",
    "block_quota_by_request": "summary",
    "block_access_denied": "counter",
    "content_length_error": "counter",
    "block_auth_cache_hits": "counter",
    "block_auth_cache_sets": "counter",
    "block_traffic_response": "counter",
    "block_traffic_request": "counter",
    "block_wait_database_connections": "counter",
    "websocket_messages": "counter",
    "pubsub_published": "counter",
}

LABELLED = {
    ("block_quota_by_request_sum", ("type", "increase")),
    ("block_quota_by_request_sum", ("type", "decrease")),
}


@pytest.fixture
def user(world: World) -> User:
    user = world.user(quota=100_000)
    assert user.prefix
    return user


class Difference:
    """What has changed between two looks."""

    def __init__(self, before: Scrape, after: Scrape) -> None:
        self._before, self._after = before, after

    def __call__(self, name: str, **labels: str) -> float:
        return self._after.value(name, **labels) - self._before.value(name, **labels)


@contextmanager
def changes(world: World) -> Iterator[Callable[[], Difference]]:
    """Give what returns what has changed since this was entered."""
    before = scrape(world.process)
    yield lambda: Difference(before, scrape(world.process))


def test_every_name(world: World) -> None:
    """Every name is there from the start, of its kind; counters end in _total."""
    seen = scrape(world.process)
    assert {name: seen.kinds.get(name) for name in KINDS} == KINDS
    for name, label in LABELLED:
        assert (name, frozenset({label})) in seen.values
    assert "block_traffic_request_total" in seen.names


def test_upload(world: World, user: User) -> None:
    """An upload moves what was received, stored, grown and published."""
    with changes(world) as changed:
        assert user.upload("a", b"x" * 1000).status_code == 204
    moved = changed()
    assert moved("block_traffic_request_total") == 1000
    assert moved("block_wait_for_transfer_store_count") == 1
    assert moved("block_quota_by_request_count", type="increase") == 1
    assert moved("block_quota_by_request_sum", type="increase") == 1000
    assert moved("pubsub_published_total") == 1
    assert moved("block_transfers_total", direction="upload", outcome="done") == 1
    assert moved("block_response_time_count") == 1
    assert moved("block_requests_total", method="POST", status="204") == 1
    assert moved("block_ledger_seconds_count", operation="commit_upload") == 1
    assert moved("block_wait_for_transfer_thread_seconds_count") >= 1


def test_download(world: World, user: User) -> None:
    """A download moves what was sent, and what it waited for."""
    user.upload("a", b"x" * 1000)
    with changes(world) as changed:
        assert len(user.download("a").content) == 1000
    moved = changed()
    assert moved("block_traffic_response_total") == 1000
    assert moved("block_traffic_by_request_count") == 1
    assert moved("block_traffic_by_request_sum") == 1000
    assert moved("block_wait_for_transfer_retrieve_count") == 1
    assert moved("block_wait_for_transfer_meta_count") == 1
    assert moved("block_transfers_total", direction="download", outcome="done") == 1


def test_head(world: World, user: User) -> None:
    """A look at the head is counted as one, and as no download."""
    user.upload("a", b"x")
    with changes(world) as changed:
        user.head("a")
    moved = changed()
    assert moved("block_wait_for_transfer_meta_count") == 1
    assert moved("block_wait_for_transfer_retrieve_count") == 0
    assert moved("block_transfers_total") == 0
    assert moved("block_traffic_response_total") == 0


def test_delete(world: World, user: User) -> None:
    """Deleting moves its time and the space that is freed."""
    user.upload("a", b"x" * 300)
    with changes(world) as changed:
        assert user.delete("a").status_code == 204
    moved = changed()
    assert moved("block_wait_for_transfer_delete_count") == 1
    assert moved("block_quota_by_request_sum", type="decrease") == 300


def test_denied(world: World, user: User) -> None:
    """Refusals are counted by their reason."""
    other = world.user()
    with changes(world) as changed:
        assert other.client.post(user.url("a"), content=b"x").status_code == 403
        assert user.upload("blocks/a", b"x" * 100_001).status_code == 402
        assert user.download("none").status_code == 404
        assert user.upload("b", b"x" * 1_000_001).status_code == 413
    moved = changed()

    def denied(reason: str) -> float:
        return moved("block_access_denied_total", reason=reason)

    assert denied("Not authorized for this prefix") == 1
    assert denied("Quota reached") == 1
    assert denied("File not found") == 1
    assert denied("Content Too Large") == 1
    assert moved("block_access_denied_total") == 4
    assert moved("content_length_error_total") == 1
    assert moved("block_transfers_total", outcome="refused") == 4


def test_accounts(world: World) -> None:
    """The first request of a token asks the accounting server and puts the account
    into the cache; the next ones find it."""
    user = world.user()
    with changes(world) as changed:
        user.quota()
    moved = changed()
    assert moved("block_wait_for_auth_count") == 1
    assert moved("block_auth_answers_total", outcome="known") == 1
    assert moved("block_auth_cache_sets_total") == 2
    assert moved("block_auth_cache_hits_total") == 0
    with changes(world) as changed:
        user.quota()
        user.quota()
    moved = changed()
    assert moved("block_wait_for_auth_count") == 0
    assert moved("block_auth_cache_hits_total") == 2


def test_unknown_token(world: World) -> None:
    """An unknown token is an answer of its own."""
    user = world.user()
    user.client.headers["Authorization"] = "Token nobody-has-this"
    with changes(world) as changed:
        assert user.client.get("/api/v0/quota/").status_code == 403
    assert changed()("block_auth_answers_total", outcome="unknown") == 1


def test_websocket(world: World, user: User) -> None:
    """Sockets are counted while they are open, and their durations afterwards."""
    url = world.process.url.replace("http", "ws", 1)
    url += f"/api/v0/websocket/{user.prefix}"
    with changes(world) as changed:
        with connect(url, additional_headers=user.authorization) as socket:
            assert changed()("websocket_connections") == 1
            user.upload("a", b"x")
            assert socket.recv(timeout=60)
            assert changed()("websocket_messages_total") == 1
            assert changed()("weboscket_connection_duration_count") == 0
        wait_for(lambda: changed()("websocket_connections") == 0)
    moved = changed()
    assert moved("weboscket_connection_duration_count") == 1
    assert moved("websocket_connection_duration_count") == 1
    assert moved("block_requests_total", status="101") == 1
    assert moved("block_in_progress_requests") == 0


def test_broker(world: World) -> None:
    """Two connections to Redis carry events."""
    wait_for(lambda: scrape(world.process).value("pubsub_connections") == 2)


def test_in_progress(world: World, user: User) -> None:
    """A request is in progress until it is answered or its client leaves."""
    with changes(world) as changed:
        with user.wire() as wire:
            headers = {
                **user.authorization,
                "Content-Length": "9",
                "Expect": "100-continue",
            }
            wire.head("POST", user.url("a"), headers)
            assert wire.answer().status == 100
            assert changed()("block_in_progress_requests") == 1
            assert changed()("block_transfers_in_progress", direction="upload") == 1
        wait_for(lambda: changed()("block_in_progress_requests") == 0)
        wait_for(lambda: changed()("block_transfers_in_progress") == 0)
    moved = changed()
    assert moved("block_transfers_total", outcome="aborted") == 1
    assert moved("block_requests_total", method="POST", status="499") == 1
    assert moved("block_client_connections") == 0


def test_what_is_no_request(world: World, user: User) -> None:
    """What can't be understood is counted among the refusals."""
    with changes(world) as changed, user.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        assert wire.answer().status == 400
        moved = changed()
    assert moved("block_requests_total", method="other", status="400") == 1
    assert moved("block_access_denied_total", reason="Bad Request") == 1
    assert moved("block_in_progress_requests") == 0


def test_waiting_for_the_database(world: World) -> None:
    """If all connections to the database are busy, the waiting is counted."""
    users = [world.user() for _ in range(20)]
    for user in users:
        user.quota()

    def waited() -> bool:
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda user: user.quota(), users * 5))
        return scrape(world.process).value("block_wait_database_connections_total") > 0

    wait_for(waited)
    seen = scrape(world.process)
    assert seen.value("block_wait_for_database_connection_seconds_count") > 0


def test_what_works(world: World) -> None:
    """Every dependency is said to work, and process metrics are there."""
    seen = scrape(world.process)
    for dependency in ("database", "cache", "push", "storage"):
        assert seen.value("block_dependency_up", dependency=dependency) == 1
    assert seen.value("process_resident_memory_bytes") > 10 * 2**20
    assert seen.value("process_open_fds") > 5
    assert seen.value("block_build_info") == 1
