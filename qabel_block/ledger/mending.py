"""What mends the ledger where it contradicts storage."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import asdict

from qabel_block.interfaces import ITransaction
from qabel_block.ledger import inventory_statements as statements
from qabel_block.ledger.statements import note_blobs
from qabel_block.ledger.states import blob_records, read_states
from qabel_block.ledger.targets import lock_targets
from qabel_block.model import BlobState, LedgerObject, ListedBlob

_STRANGE = (BlobState.UNKNOWN, BlobState.OTHER)


def pointers(objects: Sequence[LedgerObject]) -> str:
    """Return which blobs objects are, as the records that statements take."""
    return json.dumps(
        [{**asdict(one.name), "blob_key": one.blob_key} for one in objects]
    )


async def drop(
    transaction: ITransaction, objects: Sequence[LedgerObject]
) -> list[LedgerObject]:
    """Forget objects, those that are as they were; their owners shrink.

    :return: the forgotten ones.
    """
    targets = await lock_targets(transaction, [one.name for one in objects])
    dropped = [
        (one, target)
        for one, target in zip(objects, targets, strict=True)
        if target is not None
        and target.current is not None
        and target.current.blob_key == one.blob_key
    ]
    if dropped:
        records = [
            {
                **asdict(one.name),
                "owner_id": target.owner_id,
                "grown": -(target.size or 0),
            }
            for one, target in dropped
        ]
        await transaction.finish(statements.drop_objects, uploads=json.dumps(records))
    return [one for one, _ in dropped]


async def note_unknown(
    transaction: ITransaction, blobs: Sequence[ListedBlob], now: str
) -> list[str]:
    """Note blobs as garbage, those of which the ledger knows nothing.

    :param now: the time stamp of the notes.
    :return: the keys of the noted ones.
    """
    targets = await lock_targets(transaction, [blob.name for blob in blobs])
    rows = await transaction.fetch(statements.states, blobs=blob_records(blobs))
    strange = [
        blob.key
        for blob, known, target in zip(
            blobs, read_states(blobs, rows), targets, strict=True
        )
        if target is not None and known.state in _STRANGE
    ]
    if strange:
        notes = json.dumps([{"blob_key": key} for key in sorted(strange)])
        await transaction.finish(note_blobs, notes=notes, now=now)
    return strange
