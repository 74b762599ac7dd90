"""Waits for the installation's id, which separates installations on one Redis."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from qabel_block.errors import Unavailable
from qabel_block.ledger.installation import InstallationRecord

UNCONFIRMED_SECONDS = 0.1
UNAVAILABLE_SECONDS = 1.0


def installation_id(
    record: InstallationRecord, reactor: Any
) -> Callable[[], Coroutine[Deferred[Any], Any, str]]:
    """Return what returns the id once it can't change any more, however long that
    takes: the ledger can be asked, and the storage has had the same id."""

    async def wait() -> str:
        while True:
            try:
                found = await record.read()
            except Unavailable:
                await deferLater(reactor, UNAVAILABLE_SECONDS)
                continue
            if found.confirmed:
                return found.id
            await deferLater(reactor, UNCONFIRMED_SECONDS)

    return wait
