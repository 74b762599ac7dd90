"""Routes of URLs, remembered."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Rule

from qabel_block.http.route_map import RECENT_MATCHES, RouteMap


@pytest.fixture
def routes() -> RouteMap:
    routes = RouteMap()
    routes.add(Rule("/a/<name>", endpoint="get", methods=["GET"]))
    routes.add(Rule("/a/<name>", endpoint="put", methods=["PUT"]))
    return routes


def test_match_is_remembered(routes: RouteMap) -> None:
    """A match is the same when it is asked for again; what a handler does to its
    values stays with that handler. Each method has its own."""
    for _ in range(3):
        for method, endpoint in (("GET", "get"), ("PUT", "put"), ("HEAD", "get")):
            adapter = routes.bind("x", default_method=method, path_info="/a/b")
            rule, values = adapter.match(return_rule=True)
            assert (rule.endpoint, values) == (endpoint, {"name": "b"})
            assert isinstance(values, dict)
            values["name"] = "changed"
    assert routes.find.cache_info().hits == 6


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/b", NotFound),
        ("GET", "/a/b/c", NotFound),
        ("GET", "/a//b", NotFound),
        ("GET", "//a/b", NotFound),
        ("GET", "///a/b", NotFound),
        ("POST", "/a/b", MethodNotAllowed),
    ],
)
def test_no_match_is_not_remembered(
    routes: RouteMap, method: str, path: str, error: type[Exception]
) -> None:
    """What strangers make up takes no memory."""
    for _ in range(2):
        with pytest.raises(error):
            routes.bind("x", default_method=method, path_info=path).match()
    assert routes.find.cache_info().currsize == 0


def test_bound(routes: RouteMap) -> None:
    """No more than so many are kept."""
    for number in range(RECENT_MATCHES + 10):
        routes.bind("x", path_info=f"/a/{number}").match()
    assert routes.find.cache_info().currsize == RECENT_MATCHES
