"""Brings the ledger's objects into agreement with the blobs in storage."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from qabel_block.ledger import change_queries, garbage_queries
from qabel_block.ledger import maintenance_queries as statements
from qabel_block.ledger.interfaces import ITransaction, Row
from qabel_block.ledger.write_states import lock_write_states
from qabel_block.model import (
    BlobRecord,
    BlobState,
    ImportedBlob,
    LedgerObject,
    ListedBlob,
    ObjectName,
    WriteState,
)
from qabel_block.names import milliseconds_of


def blob_records(blobs: Sequence[ListedBlob]) -> str:
    """Return blobs as the records that statements take."""
    return json.dumps(
        [
            {"n": n, **blob.name.record(), "blob_key": blob.key}
            for n, blob in enumerate(blobs)
        ]
    )


def read_states(blobs: Sequence[ListedBlob], rows: Sequence[Row]) -> list[BlobRecord]:
    """Read what :data:`~qabel_block.ledger.maintenance_queries.states` returned
    for some blobs."""
    states = [BlobRecord(BlobState.UNKNOWN, None)] * len(blobs)
    for n, current, is_noted in rows:
        if current == blobs[n].key:
            state = BlobState.OBJECT
        elif is_noted:
            state = BlobState.GARBAGE
        else:
            state = BlobState.UNKNOWN if current is None else BlobState.OTHER
        states[n] = BlobRecord(state, current)
    return states


Rule = Callable[[WriteState, ImportedBlob], bool]
"""Says whether a blob shall be the object of its name, given what is there now.

It may be called more than once and in any thread.
"""


async def import_blobs(
    transaction: ITransaction, entries: Sequence[ImportedBlob], rule: Rule
) -> list[bool]:
    """Decide about some blobs, and enter the allowed ones.

    Of several of one name, the first that is allowed is.

    :return: for each whether it is an object now.
    """
    # The owners are locked first: from here on nobody changes an object of theirs.
    states = await lock_write_states(transaction, [entry.name for entry in entries])
    notes = [{"n": n, "blob_key": entry.blob_key} for n, entry in enumerate(entries)]
    rows = await transaction.fetch(garbage_queries.noted, notes=json.dumps(notes))
    garbage = {n for (n,) in rows}
    chosen: dict[ObjectName, int] = {}
    for n, (entry, state) in enumerate(zip(entries, states, strict=True)):
        if state is not None and n not in garbage and rule(state, entry):
            chosen.setdefault(entry.name, n)
    if chosen:
        uploads = [_record(entries[n], states[n]) for n in chosen.values()]
        await transaction.finish(
            change_queries.enter_objects, uploads=json.dumps(uploads)
        )
    entered = set(chosen.values())
    return [n in entered for n in range(len(entries))]


def _record(entry: ImportedBlob, state: WriteState | None) -> dict[str, object]:
    assert state is not None
    return {
        **entry.name.record(),
        "blob_key": entry.blob_key,
        "size": entry.size,
        "etag": entry.etag,
        "sha256": entry.sha256,
        "owner_id": state.owner_id,
        "grown": entry.size - (state.size or 0),
        "latest": milliseconds_of(entry.blob_key),
    }


_STRANGE = (BlobState.UNKNOWN, BlobState.OTHER)


def object_records(objects: Sequence[LedgerObject]) -> str:
    """Return which blobs objects are, as the records that statements take."""
    return json.dumps(
        [{**one.name.record(), "blob_key": one.blob_key} for one in objects]
    )


async def drop(
    transaction: ITransaction, objects: Sequence[LedgerObject]
) -> list[LedgerObject]:
    """Forget objects, those that are as they were; their owners shrink.

    :return: the forgotten ones.
    """
    states = await lock_write_states(transaction, [one.name for one in objects])
    dropped = [
        (one, state)
        for one, state in zip(objects, states, strict=True)
        if state is not None
        and state.current is not None
        and state.current.blob_key == one.blob_key
    ]
    if dropped:
        records = [
            {
                **one.name.record(),
                "owner_id": state.owner_id,
                "grown": -(state.size or 0),
            }
            for one, state in dropped
        ]
        await transaction.finish(
            change_queries.drop_objects, uploads=json.dumps(records)
        )
    return [one for one, _ in dropped]


async def note_unknown(
    transaction: ITransaction, blobs: Sequence[ListedBlob]
) -> list[str]:
    """Note blobs as garbage, those of which the ledger knows nothing.

    :return: the keys of the noted ones.
    """
    states = await lock_write_states(transaction, [blob.name for blob in blobs])
    rows = await transaction.fetch(statements.states, blobs=blob_records(blobs))
    strange = [
        blob.key
        for blob, known, state in zip(
            blobs, read_states(blobs, rows), states, strict=True
        )
        if state is not None and known.state in _STRANGE
    ]
    if strange:
        notes = json.dumps([{"blob_key": key} for key in sorted(strange)])
        await transaction.finish(garbage_queries.note_blobs, notes=notes)
    return strange
