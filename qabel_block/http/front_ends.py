"""Dispatches requests to the front ends behind one port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.web.resource import Resource

from qabel_block.http.routing import RouteResource


class FrontEnds(Resource):
    """Gives a request to the front end to which the first segment of its path belongs.

    :param others: by first segment.
    :param default: what gets all the rest.
    """

    isLeaf = True

    def __init__(
        self, default: RouteResource, others: Mapping[str, RouteResource]
    ) -> None:
        super().__init__()
        self._default = default
        self._others = others

    def render(self, request: Any) -> int:
        """Let the front end answer. Called by Twisted."""
        first = request.route_path[1:].partition("/")[0]
        return self._others.get(first, self._default).render(request)
