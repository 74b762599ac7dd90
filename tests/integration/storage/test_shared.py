"""What every IStorageBackend does whose store several processes use."""

from __future__ import annotations

import pytest_twisted

from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import StorageCase

LARGE = pattern(6 * 2**20)


@pytest_twisted.ensureDeferred
async def test_start_does_not_disturb_uploads(place: StorageCase) -> None:
    """A process that starts leaves alone what others are writing."""
    first, second = place.make(), place.make()
    await first.bind(INSTALLATION)
    keys = [new_key(), new_key()]
    writers = [await first.create(key) for key in keys]
    await writers[0].write(LARGE)
    await second.bind(INSTALLATION)
    await second.check()
    await writers[1].write(b"x")
    for writer in writers:
        await writer.finish()
    assert await read(second, keys[0], 0, len(LARGE)) == LARGE
    assert await read(second, keys[1], 0, 1) == b"x"
    await first.close()
    await second.close()


@pytest_twisted.ensureDeferred
async def test_blobs_outlive_the_process(place: StorageCase) -> None:
    """A blob that one process has written can be read and deleted by others, at
    the same time and later."""
    first, second = place.make(), place.make()
    key = new_key()
    await first.bind(INSTALLATION)
    await second.bind(INSTALLATION)
    await write(first, key, LARGE)
    await first.close()
    assert await read(second, key, 0, len(LARGE)) == LARGE
    await second.delete([key])
    await second.close()
    third = place.make()
    await third.bind(INSTALLATION)
    await third.delete([key])
    await third.close()
