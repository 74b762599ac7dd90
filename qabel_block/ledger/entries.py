"""Enters blobs in the ledger that are in storage already."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from attrs import asdict

from qabel_block.interfaces import ITransaction
from qabel_block.ledger import statements
from qabel_block.ledger.targets import lock_targets
from qabel_block.model import Entry, ObjectName, Target

Rule = Callable[[Target, Entry], bool]
"""Says whether a blob shall be the object of its name, given what is there now.

It may be called more than once and in any thread.
"""


async def enter(
    transaction: ITransaction, entries: Sequence[Entry], rule: Rule, now: str
) -> list[bool]:
    """Decide about some blobs, and enter the allowed ones.

    Of several of one name, the first that is allowed is.

    :param now: the time stamp of the change.
    :return: for each whether it is an object now.
    """
    # The owners are locked first: from here on nobody changes an object of theirs.
    targets = await lock_targets(transaction, [entry.name for entry in entries])
    notes = [{"n": n, "blob_key": entry.blob_key} for n, entry in enumerate(entries)]
    rows = await transaction.fetch(statements.noted, notes=json.dumps(notes))
    garbage = {n for (n,) in rows}
    chosen: dict[ObjectName, int] = {}
    for n, (entry, target) in enumerate(zip(entries, targets, strict=True)):
        if target is not None and n not in garbage and rule(target, entry):
            chosen.setdefault(entry.name, n)
    if chosen:
        uploads = [_record(entries[n], targets[n]) for n in chosen.values()]
        await transaction.finish(
            statements.enter_objects, uploads=json.dumps(uploads), now=now
        )
    entered = set(chosen.values())
    return [n in entered for n in range(len(entries))]


def _record(entry: Entry, target: Target | None) -> dict[str, object]:
    assert target is not None
    return {
        **asdict(entry.name),
        "blob_key": entry.blob_key,
        "size": entry.size,
        "etag": entry.etag,
        "sha256": entry.sha256,
        "owner_id": target.owner_id,
        "grown": entry.size - (target.size or 0),
    }
