"""What tests do with blobs of any storage."""

from __future__ import annotations

import time
from collections.abc import Iterable
from hashlib import shake_128
from uuid import uuid4

from qabel_block.interfaces import IStorageBackend
from qabel_block.model import ObjectName
from qabel_block.names import Versions, blob_key

INSTALLATION = "1f0c4d6e-0000-4000-8000-000000000000"
"""To which all storages of these tests belong."""

_versions = Versions(time.time)


def new_key(path: str = "blocks/a", prefix: str | None = None) -> str:
    """Return a key that was never used before."""
    return blob_key(ObjectName(prefix or str(uuid4()), path), _versions.next())


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes of which no two pieces are equal."""
    return shake_128(str(seed).encode()).digest(size)


async def write(storage: IStorageBackend, key: str, *pieces: bytes) -> None:
    """Store a blob."""
    writer = await storage.create(key)
    for piece in pieces:
        await writer.write(piece)
    await writer.finish()


async def read(storage: IStorageBackend, key: str, start: int, length: int) -> bytes:
    """Return a part of a blob."""
    reader = await storage.open(key, start, length)
    try:
        pieces = []
        while piece := await reader.read():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        await reader.close()


async def store_all(
    storage: IStorageBackend, blobs: Iterable[tuple[str, bytes]]
) -> None:
    """Store several blobs, one after the other."""
    for key, content in blobs:
        await write(storage, key, content)
