"""A body that is hashed while it is read."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import pytest_twisted
from zope.interface import implementer

from qabel_block.errors import BodyTooLarge
from qabel_block.interfaces import IBody
from qabel_block.operations.hashed_body import HashedBody


@implementer(IBody)
class Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class InPlace:
    """Runs at once what belongs into a thread."""

    async def run(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)


PIECES = (b"a" * 100, b"b" * 100_000, b"c")


def hashed(limit: int = 10**6) -> HashedBody:
    return HashedBody(Pieces(*PIECES), InPlace(), limit)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_digest() -> None:
    """Its digest is that of all pieces, whoever reads them."""
    body = hashed()
    assert [await body.read(), await body.read()] == list(PIECES[:2])
    assert await body.sha256() == sha256(b"".join(PIECES)).hexdigest()
    assert await body.read() == b""
    assert body.size == 100_101


@pytest_twisted.ensureDeferred
async def test_limit() -> None:
    """More than the limit is refused."""
    body = hashed(100_100)
    with pytest.raises(BodyTooLarge):
        await body.sha256()
