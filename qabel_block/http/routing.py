"""Calls the handler of a request's route, and sends what it returns.

Routes are those of a Klein application, matched by its URL map. Klein's own resource is
not used: it cancels the handler of a client that leaves, adapts the URL map to a host
and a port that no route here has, and renders whatever a handler may return: a quarter
of the processor time of a small download. Here a handler goes on to its end, within the
time that a request may wait, and returns bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import NotFound

from qabel_block.http.transport.request import StreamingRequest
from qabel_block.util.budget import begin_budget

log = Logger()

RECENT_MATCHES = 2048
"""How many are kept. A path that matches has less than a thousand characters."""

_UNKNOWN = "-"
"""A method that no route has."""

Handler = Callable[..., Awaitable[bytes | None]]

AnswerFailure = Callable[[StreamingRequest, Failure], bytes]
"""Prepares the answer to a request that failed and returns its body."""


def make_routes() -> Klein:
    """Return an application without routes, which takes paths as they are.

    Nothing is redirected: clients would follow with their token, whatever the host.
    """
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.redirect_defaults = False
    return app


class RouteMatcher:
    """Finds the route of a path, once for those that are asked for again and again.

    Clients look for changes of the same objects for ever. What did not match is
    forgotten: what strangers make up takes no memory.
    """

    def __init__(self, app: Klein) -> None:
        self._adapter = app.url_map.bind("localhost")  # a constant: no route has a host
        self.match = lru_cache(RECENT_MATCHES)(self._match)

    def _match(self, path: str, method: bytes) -> tuple[str, Mapping[str, Any]]:
        """Return the endpoint of a path and the values in it.

        :raises werkzeug.exceptions.HTTPException: if there is no such route, or not
            for this method.
        """
        if path[:1] != "/" or path.startswith("//"):
            raise NotFound  # werkzeug would take it for one slash
        # Nor does werkzeug tell "delete" from DELETE (RFC 9110 section 9.1).
        known = method.decode("latin-1") if method.isupper() else _UNKNOWN
        return self._adapter.match(path, known)


class RouteResource(Resource):
    """Answers requests by the handlers of an application.

    A handler is a coroutine that takes a
    :class:`~qabel_block.http.transport.request.StreamingRequest` and the values in its
    path. It returns the body of the answer, or what is left of it; ``None`` once it has
    given the connection to another protocol.

    :param app: has the routes.
    :param owner: the object of which the handlers are methods, each named as its
        endpoint.
    :param answer_failure: for requests without a route, and handlers that raise.
    """

    isLeaf = True

    def __init__(
        self, app: Klein, owner: object, answer_failure: AnswerFailure
    ) -> None:
        super().__init__()
        # Not by way of Klein, which would make a Deferred of each coroutine.
        self._handlers: dict[str, Handler] = {
            endpoint: getattr(owner, endpoint) for endpoint in app.endpoints
        }
        self._match = RouteMatcher(app).match
        self._answer_failure = answer_failure

    def render(self, request: Any) -> int:
        """Begin to answer. Called by Twisted."""
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(_broken, request)
        return NOT_DONE_YET

    async def _answer(self, request: StreamingRequest) -> None:
        begin_budget(request.site.reactor)
        try:
            endpoint, values = self._match(request.route_path, request.method)
            body = await self._handlers[endpoint](request, **values)
        except Exception:
            body = self._answer_failure(request, Failure())
        if body is None:
            return
        if body:
            request.write(body)
        request.finish()


def _broken(failure: Failure, request: StreamingRequest) -> None:
    log.failure("not answered: {id}", failure=failure, id=request.request_id)
    request.abort()
