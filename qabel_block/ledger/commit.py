"""Commits uploads and deletions: many in one transaction, each decided by itself.

Waiting for the disk costs the same for one as for many. So changes that are
ready at the same time share a transaction; one that is refused does not
disturb the others, and neither does one whose owner somebody else has locked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from attrs import define, evolve, frozen

from qabel_block.errors import BlobCollected, ControlSizeNeeded, NotOwner
from qabel_block.ledger import change_queries, garbage_queries, prefix_queries
from qabel_block.ledger.interfaces import ITransaction
from qabel_block.ledger.repositories import read_control_sizes
from qabel_block.ledger.write_states import read_write_states
from qabel_block.model import Change, ObjectName, PendingBlob, StoredObject, WriteState
from qabel_block.names import is_control_file, milliseconds_of

Decision = Callable[[WriteState], None]
"""Raises what forbids a change, or returns.

It may be called more than once and in any thread, so it looks at nothing but
its argument and the time.
"""


@frozen
class Commit:
    """A blob that is to be the object of a name, if ``decide`` lets it.

    :ivar claim_for: the user who gets the prefix if it does not exist.
    """

    name: ObjectName
    blob: PendingBlob
    decide: Decision
    claim_for: int | None


@frozen
class Deletion:
    """An object that is to be deleted, if ``decide`` lets it."""

    name: ObjectName
    decide: Decision


Outcome = Change | Exception | None
"""What a change did, or the error that refuses it; ``None`` for the deletion of
what is not there."""


class OwnerLocked(Exception):
    """Somebody else changes what this owner stores, or holds a row of the owner's, or
    there is no row to lock yet: only those who wait for the owner make it."""


@define
class ObjectWrite:
    """What becomes of an object, and by how much its owner grows.

    :ivar blob: ``None`` if it is deleted.
    :ivar before: its state before the transaction.
    """

    blob: PendingBlob | None
    before: WriteState
    grown: int


@frozen
class LockedStates:
    """What decides about some changes, and can't change until the transaction ends.

    :ivar states: for each its object's state, ``None`` where there is no prefix.
    :ivar noted: numbers of the uploads whose blobs are still noted as they were.
    :ivar owners_locked: numbers of the changes whose owners somebody else has locked;
        their states may change at any time.
    """

    states: Sequence[WriteState | None]
    noted: frozenset[int]
    owners_locked: frozenset[int] = frozenset()


async def commit_changes(
    transaction: ITransaction,
    changes: Sequence[Commit | Deletion],
    wait: bool = False,
) -> list[Outcome]:
    """Decide about changes one after the other, and make the allowed ones.

    :param wait: whether to wait for owners whom somebody else has locked, up to
        :data:`~qabel_block.ledger.owner_locks.LOCK_WAIT_MILLISECONDS`. Otherwise
        :class:`OwnerLocked` is the outcome for theirs.
    """
    locked = await _lock(transaction, changes, wait)
    claims = await _claim(transaction, changes, locked.states)
    if claims:
        locked = await _lock(transaction, changes, wait)
    outcomes, writes = decide_changes(changes, locked)
    if any(isinstance(outcome, ControlSizeNeeded) for outcome in outcomes):
        # Only a full repository has to pay for this.
        locked = await _with_control_sizes(transaction, changes, locked)
        outcomes, writes = decide_changes(changes, locked)
    used = {name.prefix for name in writes}
    for prefix, is_new in claims.items():
        if is_new and prefix not in used:
            await transaction.execute(prefix_queries.drop_prefix, prefix=prefix)
    await _note_legacy(transaction, writes)
    puts = {name: write for name, write in writes.items() if write.blob}
    deleted = {
        name: write
        for name, write in writes.items()
        if not write.blob and write.before.current
    }
    if deleted:
        await transaction.execute(
            change_queries.delete_objects, uploads=_records(deleted)
        )
    if puts:
        await transaction.finish(change_queries.put_objects, uploads=_records(puts))
    return outcomes


def decide_changes(
    changes: Sequence[Commit | Deletion], locked: LockedStates
) -> tuple[list[Outcome], dict[ObjectName, ObjectWrite]]:
    """Decide about each change, after those before it.

    If there are several uploads of one name, all but the last are replaced before
    anybody could see them; their notes stay, and so they are garbage.
    """
    outcomes: list[Outcome] = []
    writes: dict[ObjectName, ObjectWrite] = {}
    grown: dict[int, int] = {}
    freed: dict[int, int] = {}
    control: dict[str, int] = {}
    for n, (change, before) in enumerate(zip(changes, locked.states, strict=True)):
        try:
            if before is None:
                raise NotOwner(change.name.prefix)
            if n in locked.owners_locked:
                raise OwnerLocked
            write = writes.get(change.name)
            state = evolve(
                before,
                used=before.used + grown.get(before.owner_id, 0),
                garbage=before.garbage + freed.get(before.owner_id, 0),
                current=_stored(write.blob) if write else before.current,
                control=None
                if before.control is None
                else before.control + control.get(change.name.prefix, 0),
            )
            change.decide(state)
            blob = change.blob if isinstance(change, Commit) else None
            if blob and n not in locked.noted:
                raise BlobCollected(blob.blob_key)
        except Exception as error:
            outcomes.append(error)
            continue
        growth = (blob.size if blob else 0) - (state.size or 0)
        if blob or state.current:
            outdated = _outdated(state.current, blob)
            garbage = state.garbage + (0 if write else state.size or 0)
            outcomes.append(Change(state.owner_id, growth, outdated, garbage))
            freed[state.owner_id] = garbage - before.garbage
        else:
            outcomes.append(None)
        grown[state.owner_id] = grown.get(state.owner_id, 0) + growth
        if is_control_file(change.name.path):
            prefix = change.name.prefix
            control[prefix] = control.get(prefix, 0) + growth
        in_all = growth + (write.grown if write else 0)
        writes[change.name] = ObjectWrite(blob, before, in_all)
    return outcomes, writes


async def _lock(
    transaction: ITransaction, changes: Sequence[Commit | Deletion], wait: bool
) -> LockedStates:
    records = [
        {"n": n, **change.name.record(), **_note(change)}
        for n, change in enumerate(changes)
    ]
    statement = (
        change_queries.lock_changes if wait else change_queries.lock_free_changes
    )
    rows = await transaction.fetch(statement, names=json.dumps(records))
    return LockedStates(
        read_write_states(len(changes), [row[:-2] for row in rows]),
        noted=frozenset(row[0] for row in rows if row[-2]),
        owners_locked=frozenset(row[0] for row in rows if not row[-1]),
    )


async def _with_control_sizes(
    transaction: ITransaction,
    changes: Sequence[Commit | Deletion],
    locked: LockedStates,
) -> LockedStates:
    """Add to the states of control files how much there is of those."""
    sizes = await read_control_sizes(
        transaction,
        {change.name.prefix for change in changes if is_control_file(change.name.path)},
    )
    return evolve(
        locked,
        states=[
            state and evolve(state, control=sizes.get(change.name.prefix))
            for change, state in zip(changes, locked.states, strict=True)
        ],
    )


def _note(change: Commit | Deletion) -> dict[str, str]:
    if isinstance(change, Deletion):
        return {}
    return {"blob_key": change.blob.blob_key}


async def _claim(
    transaction: ITransaction,
    changes: Sequence[Commit | Deletion],
    states: Sequence[WriteState | None],
) -> dict[str, bool]:
    """Make the prefixes that do not exist but are claimed.

    :return: for each whether it was made here, or meanwhile by somebody else.
    """
    claims = {
        change.name.prefix: change.claim_for
        for change, state in zip(changes, states, strict=True)
        if state is None and isinstance(change, Commit) and change.claim_for is not None
    }
    return {
        prefix: await transaction.execute(
            prefix_queries.create_prefix, prefix=prefix, user_id=user_id
        )
        == 1
        for prefix, user_id in sorted(claims.items())
    }


async def _note_legacy(
    transaction: ITransaction, writes: dict[ObjectName, ObjectWrite]
) -> None:
    """Make blobs of the legacy server garbage that nobody has adopted yet.

    Otherwise they would come back as objects that were overwritten or deleted.
    """
    keys = sorted(str(name) for name, write in writes.items() if write.before.adopting)
    if keys:
        notes = json.dumps([{"blob_key": key} for key in keys])
        await transaction.execute(garbage_queries.note_blobs, notes=notes)


def _outdated(current: StoredObject | None, blob: PendingBlob | None) -> str | None:
    """Return the key of the current blob if its version is later than the new one's.

    Of uploads that overlap, the one that began first may be committed last.
    """
    # Keys of one object sort by their versions, the legacy server's first.
    if current and blob and current.blob_key > blob.blob_key:
        return current.blob_key
    return None


def _stored(blob: PendingBlob | None) -> StoredObject | None:
    if blob is None:
        return None
    # Nobody has seen it yet, whatever date a client knows.
    now = int(time.time())
    return StoredObject(blob.blob_key, blob.size, blob.etag, blob.sha256, now)


def _records(writes: dict[ObjectName, ObjectWrite]) -> str:
    return json.dumps(
        [
            {
                **name.record(),
                **(write.blob.record() if write.blob else {}),
                "owner_id": write.before.owner_id,
                "grown": write.grown,
                "freed": write.before.size or 0,
                "latest": milliseconds_of(write.blob.blob_key) if write.blob else 0,
            }
            for name, write in writes.items()
        ]
    )
