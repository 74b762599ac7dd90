"""Commits uploads: many in one transaction, each decided by itself.

Waiting for the disk costs the same for one as for many. So uploads that are
ready at the same time share a transaction; one that is refused does not
disturb the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence

from attrs import asdict, define, evolve, frozen

from qabel_block.errors import BlobCollected, NotOwner
from qabel_block.ledger import queries
from qabel_block.ledger.interfaces import ITransaction
from qabel_block.ledger.write_states import read_write_states
from qabel_block.model import Change, ObjectName, PendingBlob, StoredObject, WriteState

Decision = Callable[[WriteState], None]
"""Raises what forbids a change, or returns.

It may be called more than once and in any thread, so it looks at nothing but
its argument.
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


@define
class _Write:
    """The blob that an object will be, and by how much its owner grows."""

    blob: PendingBlob
    owner_id: int
    grown: int


async def commit_uploads(
    transaction: ITransaction, commits: Sequence[Commit], now: str
) -> list[Change | Exception]:
    """Decide about uploads one after the other, and make the allowed ones.

    :param now: the time stamp of the change.
    :return: for each upload what it changed, or the error that refuses it.
    """
    states, noted = await _lock(transaction, commits)
    claims = await _claim(transaction, commits, states, now)
    if claims:
        states, noted = await _lock(transaction, commits)
    outcomes, puts = settle(commits, states, noted)
    used = {name.prefix for name in puts}
    for prefix, is_new in claims.items():
        if is_new and prefix not in used:
            await transaction.execute(queries.drop_prefix, prefix=prefix)
    if puts:
        names = [commit.name for commit in commits]
        await replace_legacy(transaction, names, states, puts.keys(), now)
        await transaction.finish(queries.put_objects, uploads=_records(puts), now=now)
    return outcomes


async def replace_legacy(
    transaction: ITransaction,
    names: Sequence[ObjectName],
    states: Sequence[WriteState | None],
    changed: Container[ObjectName],
    now: str,
) -> None:
    """Make blobs of the legacy server garbage that nobody has adopted yet.

    Otherwise they would come back as objects that were overwritten or deleted.

    :param states: for each name its target before the change.
    :param changed: those of the names that were changed.
    """
    keys = {
        str(name)
        for name, state in zip(names, states, strict=True)
        if state is not None and state.adopting and name in changed
    }
    if keys:
        notes = json.dumps([{"blob_key": key} for key in sorted(keys)])
        await transaction.execute(queries.note_blobs, notes=notes, now=now)


def settle(
    commits: Sequence[Commit], states: Sequence[WriteState | None], noted: set[int]
) -> tuple[list[Change | Exception], dict[ObjectName, _Write]]:
    """Decide about each upload, after those before it.

    If there are several of one name, all but the last are replaced before
    anybody could see them; their notes stay, and so they are garbage.

    :param states: for each upload its target before all of them.
    :param noted: which uploads' blobs are still noted as they were.
    """
    outcomes: list[Change | Exception] = []
    puts: dict[ObjectName, _Write] = {}
    grown: dict[int, int] = {}
    for n, (commit, state) in enumerate(zip(commits, states, strict=True)):
        try:
            if state is None:
                raise NotOwner(commit.name.prefix)
            before = puts.get(commit.name)
            state = evolve(
                state,
                used=state.used + grown.get(state.owner_id, 0),
                current=_stored(before.blob) if before else state.current,
            )
            commit.decide(state)
            if n not in noted:
                raise BlobCollected(commit.blob.blob_key)
        except Exception as error:
            outcomes.append(error)
            continue
        change = Change(state.owner_id, commit.blob.size - (state.size or 0))
        outcomes.append(change)
        grown[change.owner_id] = grown.get(change.owner_id, 0) + change.grown
        in_all = change.grown + (before.grown if before else 0)
        puts[commit.name] = _Write(commit.blob, change.owner_id, in_all)
    return outcomes, puts


async def _lock(
    transaction: ITransaction, commits: Sequence[Commit]
) -> tuple[list[WriteState | None], set[int]]:
    """Return what decides about uploads, and let it change only here until the
    transaction ends.

    :return: the targets, and for which uploads the note is still there.
    """
    records = [
        {
            "n": n,
            **asdict(commit.name),
            "blob_key": commit.blob.blob_key,
            "noted": commit.blob.noted,
        }
        for n, commit in enumerate(commits)
    ]
    rows = await transaction.fetch(queries.lock_uploads, names=json.dumps(records))
    states = read_write_states(len(commits), [row[:-1] for row in rows])
    return states, {row[0] for row in rows if row[-1]}


async def _claim(
    transaction: ITransaction,
    commits: Sequence[Commit],
    states: Sequence[WriteState | None],
    now: str,
) -> dict[str, bool]:
    """Make the prefixes that do not exist but are claimed.

    :return: for each whether it was made here, or meanwhile by somebody else.
    """
    claims = {
        commit.name.prefix: commit.claim_for
        for commit, state in zip(commits, states, strict=True)
        if state is None and commit.claim_for is not None
    }
    return {
        prefix: await transaction.execute(
            queries.create_prefix, prefix=prefix, user_id=user_id, now=now
        )
        == 1
        for prefix, user_id in sorted(claims.items())
    }


def _stored(blob: PendingBlob) -> StoredObject:
    return StoredObject(blob.blob_key, blob.size, blob.etag, blob.sha256)


def _records(puts: dict[ObjectName, _Write]) -> str:
    return json.dumps(
        [
            {
                **asdict(name),
                **asdict(put.blob),
                "owner_id": put.owner_id,
                "grown": put.grown,
            }
            for name, put in puts.items()
        ]
    )
