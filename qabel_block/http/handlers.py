"""What the handlers of all front ends have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred

from qabel_block.http.transport.limits import origin
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.util.budget import Budget, spending
from qabel_block.util.cancellation import shield

A = TypeVar("A")
P = ParamSpec("P")
Handler = Callable[
    Concatenate[A, StreamingRequest, P], Coroutine[Deferred[Any], Any, Any]
]


def login_origin(request: StreamingRequest) -> str | None:
    """Return whose tokens that fail count together; ``None`` for whoever is on this
    machine, and for proxies that don't say for whom they speak."""
    where = origin(request.client)
    if where is None or request.site.proxies.trusts(request.client):
        return None
    return where


def uncancellable(
    handler: Handler[A, P],
) -> Callable[Concatenate[A, StreamingRequest, P], Deferred[bytes]]:
    """Let a handler finish even if its client disconnects, within the time that a
    request may wait."""

    @wraps(handler)
    def begin(
        self: A, request: StreamingRequest, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[bytes]:
        with spending(Budget(request.site.reactor)):
            return shield(handler(self, request, *args, **kwargs))

    return begin  # type: ignore[return-value]
