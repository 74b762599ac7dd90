"""Chooses which blobs in storage are to become objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from qabel_block.cli.context import CommandParts
from qabel_block.model import (
    BlobState,
    ImportedBlob,
    ListedBlob,
    ObjectName,
    WriteState,
)
from qabel_block.rules.blob_order import DatedBlob, is_newer


@frozen
class Candidate:
    """A blob that is to become an object.

    :ivar replaces: the key of the blob that is the object now, if there is one.
    """

    blob: ListedBlob
    replaces: str | None


@frozen
class ImportChoice:
    """Which blobs become objects, beside those of whose names there is none.

    :ivar concerned: whether a blob is looked at, at all.
    :ivar older: whether a blob takes the place of an older one.
    :ivar missing: whether it takes that of one which is not in storage, too.
    """

    concerned: Callable[[ListedBlob], bool]
    older: bool = False
    missing: bool = False

    async def choose(
        self, parts: CommandParts, blobs: Sequence[ListedBlob]
    ) -> tuple[list[Candidate], int]:
        """Return what is to be entered, at the most one blob of each name, and how
        many blobs are objects already."""
        known = await parts.maintenance.states(blobs)
        candidates = []
        others: list[tuple[ListedBlob, str]] = []
        for blob, record in zip(blobs, known, strict=True):
            if record.state is BlobState.UNKNOWN:
                candidates.append(Candidate(blob, None))
            elif record.state is BlobState.OTHER and record.current is not None:
                others.append((blob, record.current))
        if self.older and others:
            there = await self._look(parts, others)
            candidates += [
                Candidate(blob, current)
                for blob, current in others
                if self._replaces(blob, current, there)
            ]
        objects = sum(record.state is BlobState.OBJECT for record in known)
        return _newest(candidates), objects

    async def _look(
        self, parts: CommandParts, others: Iterable[tuple[ListedBlob, str]]
    ) -> Mapping[str, ListedBlob]:
        """Ask storage about current blobs, where their keys don't tell enough."""
        keys = {
            current
            for blob, current in others
            if self.missing or (blob.version is None) == ("~" in current)
        }
        return await parts.listing.stat(sorted(keys)) if keys else {}

    def _replaces(
        self, blob: ListedBlob, current: str, there: Mapping[str, ListedBlob]
    ) -> bool:
        found = there.get(current)
        if self.missing and found is None:
            return True
        return is_newer(
            _dated(blob), DatedBlob(current, found.modified if found else 0)
        )


def is_as_chosen(state: WriteState, entry: ImportedBlob) -> bool:
    """Say whether what a blob is to replace still is the object: whatever a client
    has stored meanwhile is newer."""
    current = state.current.blob_key if state.current else None
    return current == entry.replaces


def _newest(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the newest of each name."""
    newest: dict[ObjectName, Candidate] = {}
    for one in candidates:
        best = newest.setdefault(one.blob.name, one)
        if is_newer(_dated(one.blob), _dated(best.blob)):
            newest[one.blob.name] = one
    return list(newest.values())


def _dated(blob: ListedBlob) -> DatedBlob:
    return DatedBlob(blob.key, blob.modified)
