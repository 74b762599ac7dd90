"""Waits for the installation's id, which separates installations on one Redis."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from qabel_block.errors import Unavailable
from qabel_block.ledger.ledger import Ledger

AGAIN_SECONDS = 1.0


def installation_id(
    ledger: Ledger, reactor: Any
) -> Callable[[], Coroutine[Deferred[Any], Any, str]]:
    """Return what returns the id once the ledger can be asked for it, however long
    that takes."""

    async def wait() -> str:
        while True:
            try:
                return await ledger.installation()
            except Unavailable:
                await deferLater(reactor, AGAIN_SECONDS)

    return wait
