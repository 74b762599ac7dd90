"""The id of an installation, in the ledger."""

from __future__ import annotations

from uuid import UUID

import pytest
import pytest_twisted

from qabel_block.ledger.installation import InstallationRecord
from qabel_block.ledger.interfaces import IDatabase
from qabel_block.ledger.ledger import Ledger
from qabel_block.model import Installation
from tests.integration.ledger.support import (
    OWNER,
    P,
    at_once,
    name,
    upload,
)


@pytest.fixture
def record(database: IDatabase) -> InstallationRecord:
    return InstallationRecord(database)


@pytest_twisted.ensureDeferred
async def test_first_use(ledger: Ledger, other_database: IDatabase) -> None:
    """Of many nodes that use a ledger first, all find the same id, a UUID4."""
    others = [InstallationRecord(other_database) for _ in range(5)]
    first, *rest = await at_once([ledger.installation(), *(o.read() for o in others)])
    assert UUID(str(first)).version == 4
    assert rest == [Installation(str(first), confirmed=False)] * 5
    assert await ledger.installation() == first


@pytest_twisted.ensureDeferred
async def test_confirmed(record: InstallationRecord, ledger: Ledger) -> None:
    """What the storage is known to have is the ledger's id from then on."""
    await record.read()
    await record.confirm("another")
    assert await record.read() == Installation("another", confirmed=True)
    assert await ledger.installation() == "another"


@pytest_twisted.ensureDeferred
async def test_sample(record: InstallationRecord, ledger: Ledger) -> None:
    """A sample names blobs of objects, each once."""
    assert await record.blob_sample() == []
    await ledger.create_prefix(OWNER, P)
    blobs = [await upload(ledger, name(f"blocks/{n}")) for n in range(3)]
    assert sorted(await record.blob_sample()) == [blob.blob_key for blob in blobs]
