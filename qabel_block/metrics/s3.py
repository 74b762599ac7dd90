"""Measures calls of S3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qabel_block.metrics.catalogue import Metrics

_BEGAN = "qabel_block_began"


def watch_s3(metrics: Metrics, now: Callable[[], float]) -> Callable[[Any], None]:
    """Return what makes a client of boto3 count its calls and their time.

    The answer's body is not waited for.

    :param now: seconds, of a clock that never goes back.
    """

    def began(context: dict[str, Any], **_: object) -> None:
        context[_BEGAN] = now()

    def ended(context: dict[str, Any], **_: object) -> None:
        metrics.s3_requests.observe(now() - context[_BEGAN])

    def watch(client: Any) -> None:
        client.meta.events.register("before-call.s3", began)
        client.meta.events.register("after-call.s3", ended)
        client.meta.events.register("after-call-error.s3", ended)

    return watch
