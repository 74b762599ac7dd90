"""Reads what the ledger knows of blobs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import asdict

from qabel_block.interfaces import Row
from qabel_block.model import BlobState, Known, ListedBlob


def blob_records(blobs: Sequence[ListedBlob]) -> str:
    """Return blobs as the records that statements take."""
    return json.dumps(
        [
            {"n": n, **asdict(blob.name), "blob_key": blob.key}
            for n, blob in enumerate(blobs)
        ]
    )


def read_states(blobs: Sequence[ListedBlob], rows: Sequence[Row]) -> list[Known]:
    """Read what :data:`~qabel_block.ledger.inventory_statements.states` returned
    for some blobs."""
    states = [Known(BlobState.UNKNOWN, None)] * len(blobs)
    for n, current, is_noted in rows:
        if current == blobs[n].key:
            state = BlobState.OBJECT
        elif is_noted:
            state = BlobState.GARBAGE
        else:
            state = BlobState.UNKNOWN if current is None else BlobState.OTHER
        states[n] = Known(state, current)
    return states
