"""Routes of URLs, remembered, and requests without an answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from werkzeug.exceptions import MethodNotAllowed, NotFound

from qabel_block.http.routing import (
    RECENT_MATCHES,
    RouteMatcher,
    RouteResource,
    make_routes,
)
from tests.integration.ledger.support import logged, tracebacks


@pytest.fixture
def routes() -> RouteMatcher:
    app = make_routes()

    @app.route("/a/<name>", methods=["GET"])
    def get(request: object, name: str) -> None:
        """Never called."""

    @app.route("/a/<name>", methods=["PUT"])
    def put(request: object, name: str) -> None:
        """Never called."""

    return RouteMatcher(app)


def test_match_is_remembered(routes: RouteMatcher) -> None:
    """A match is the same when it is asked for again. Each method has its own."""
    for _ in range(3):
        for method, endpoint in ((b"GET", "get"), (b"PUT", "put"), (b"HEAD", "get")):
            assert routes.match("/a/b", method) == (endpoint, {"name": "b"})
    assert routes.match.cache_info().hits == 6


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        (b"GET", "/b", NotFound),
        (b"GET", "/a/b/c", NotFound),
        (b"GET", "/a//b", NotFound),
        (b"GET", "//a/b", NotFound),
        (b"GET", "///a/b", NotFound),
        (b"POST", "/a/b", MethodNotAllowed),
        (b"P\xff", "/a/b", MethodNotAllowed),
    ],
)
def test_no_match_is_not_remembered(
    routes: RouteMatcher, method: bytes, path: str, error: type[Exception]
) -> None:
    """What strangers make up takes no memory."""
    for _ in range(2):
        with pytest.raises(error):
            routes.match(path, method)
    assert routes.match.cache_info().currsize == 0


def test_bound(routes: RouteMatcher) -> None:
    """No more than so many are kept."""
    for number in range(RECENT_MATCHES + 10):
        routes.match(f"/a/{number}", b"GET")
    assert routes.match.cache_info().currsize == RECENT_MATCHES


def test_no_answer() -> None:
    """A client is not kept waiting where even the answer to a failure fails."""
    aborted: list[bool] = []

    def answer_failure(request: object, failure: Failure) -> bytes:
        failure.trap(NotFound)
        raise ValueError

    request = SimpleNamespace(
        method=b"GET",
        route_path="/nothing",
        request_id="the-id",
        site=SimpleNamespace(reactor=Clock()),
        abort=lambda: aborted.append(True),
    )
    with logged() as events:
        RouteResource(make_routes(), None, answer_failure).render(request)
    assert aborted == [True]
    (event,) = tracebacks(events)
    assert event["id"] == "the-id"
    assert event["log_failure"].type is ValueError
