"""Finds the route of a URL, once for those that are asked for again and again.

Clients look for changes of the same objects for ever, and a match costs as much as all
else about routing. This module leans on ``Klein._url_map``, for which there is no
argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from klein import Klein
from werkzeug.routing import Map, MapAdapter, Rule

RECENT_MATCHES = 2048
"""How many are kept. A path that matches has less than a thousand characters."""

_NO_PATH = "/\0"
"""Matches no route."""


class RouteMap(Map):
    """Remembers recent matches. What did not match is forgotten.

    Paths are taken as they are: nothing is redirected. Clients would follow with
    their token, whatever the host.
    """

    def __init__(self) -> None:
        super().__init__(merge_slashes=False, redirect_defaults=False)
        self.find = lru_cache(RECENT_MATCHES)(self._find)

    def bind(
        self,
        server_name: str,
        script_name: str | None = None,
        subdomain: str | None = None,
        url_scheme: str = "http",
        default_method: str = "GET",
        path_info: str | None = None,
        query_args: Mapping[str, Any] | str | None = None,
    ) -> MapAdapter:
        """Called by Klein for each request."""
        if path_info is not None and path_info.startswith("//"):
            path_info = _NO_PATH  # werkzeug would take the first segment away
        return CachingMapAdapter(
            self,
            server_name,
            script_name or "/",
            subdomain,
            url_scheme,
            path_info or "",
            default_method,
            query_args,
        )

    def _find(self, path: str, method: str) -> tuple[Rule, Mapping[str, Any]]:
        """Match a path.

        :raises werkzeug.exceptions.HTTPException: if there is no such route, or not
            for this method.
        """
        return super().bind("localhost").match(path, method, return_rule=True)


class CachingMapAdapter(MapAdapter):
    """What Klein asks for the route of one request."""

    map: RouteMap

    def match(
        self,
        path_info: str | None = None,
        method: str | None = None,
        return_rule: bool = False,
        query_args: Mapping[str, Any] | str | None = None,
        websocket: bool | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """See :meth:`RouteMap.find`. Queries and WebSockets make no difference here."""
        rule, values = self.map.find(
            self.path_info if path_info is None else path_info,
            method or self.default_method,
        )
        return rule if return_rule else rule.endpoint, dict(values)


def make_routes() -> Klein:
    """Return an application without routes, in which a path is what it says."""
    app = Klein()
    app._url_map = RouteMap()
    return app
