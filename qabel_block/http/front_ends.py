"""Dispatches requests to the front ends behind one port."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request


class FrontEnds(Resource):
    """Gives a request to the front end to which the first segment of its path belongs.

    :param others: by first segment.
    :param default: what gets all the rest.
    """

    isLeaf = True

    def __init__(self, default: IResource, others: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._default = default
        self._others = others

    def render(self, request: Request) -> int | bytes:
        """Let the front end render the request."""
        first = request.postpath[0] if request.postpath else b""
        chosen = self._others.get(first, self._default)
        result: int | bytes = chosen.render(request)
        return result
