"""Reads and locks the rows that decide about changes to objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qabel_block.ledger import change_queries
from qabel_block.ledger.interfaces import ITransaction, Row
from qabel_block.model import ObjectName, StoredObject, WriteState
from qabel_block.names import milliseconds_of


async def lock_write_states(
    transaction: ITransaction, names: Sequence[ObjectName]
) -> list[WriteState | None]:
    """Return what decides about changes, and let it change only here until the
    transaction ends.

    :return: for each name its target, ``None`` where there is no such prefix.
    """
    rows = await transaction.fetch(
        change_queries.lock_write_states, names=numbered(names)
    )
    return read_write_states(len(names), rows)


def numbered(names: Sequence[ObjectName]) -> str:
    """Return names as the records that statements take."""
    return json.dumps([{"n": n, **name.record()} for n, name in enumerate(names)])


def read_write_states(count: int, rows: Sequence[Row]) -> list[WriteState | None]:
    """Read what :data:`~qabel_block.ledger.change_queries.write_states` returned for so
    many names."""
    states: list[WriteState | None] = [None] * count
    for n, owner_id, used, adopting, garbage, latest, *stored in rows:
        current = None if stored[0] is None else read_stored(stored)
        if current is not None:
            # One that was made before the column was.
            latest = max(latest, milliseconds_of(current.blob_key))
        states[n] = WriteState(
            owner_id,
            used,
            current,
            adopting=bool(adopting) and current is None,
            garbage=garbage,
            latest=latest,
        )
    return states


def read_stored(row: Sequence[Any]) -> StoredObject:
    """Read what :data:`~qabel_block.ledger.change_queries.STORED` are of an object.

    It was modified when it was committed: while it was uploaded nobody could see it.
    Versions rise, whatever has been done to a clock, and so their dates never fall.
    """
    blob_key, size, etag, sha256, created = row
    begun = milliseconds_of(blob_key)
    if not begun:
        return StoredObject(blob_key, size, etag, sha256)
    if isinstance(created, str):
        created = datetime.fromisoformat(created)
    modified = max(begun // 1000, int(created.timestamp()))
    return StoredObject(blob_key, size, etag, sha256, modified)
