"""``qabel-block adopt``: what the legacy server has stored becomes objects.

A blob is entered in the ledger where it is, under the ETag that the legacy server
had for it, after it was read once for its SHA-256. What decides is in one
transaction, in which its owner is locked: a path that was written since is left
as it is, and a blob that is garbage does not come back. Until all is adopted, the
ledger notes a path that is written or deleted before its blob's turn has come
(``unfinished`` in :mod:`qabel_block.ledger.schema`).

That a blob is in no way known is asked before it is read. So it can't have been
deleted as garbage between the two, and then entered.
"""

from __future__ import annotations

from argparse import ArgumentParser

from attrs import define, field

from qabel_block.model import BlobState, Entry, KeptSize, ListedBlob, Target
from qabel_block.tools.batches import Batches, InBackground
from qabel_block.tools.job import Job, Parts, opened
from qabel_block.tools.reports import in_bytes
from qabel_block.tools.running import ALL_WELL, FINDINGS, Interrupted

HELP = (
    "Enter what the legacy server has stored in the ledger, where it is, and correct"
    " what users store. The server may run meanwhile."
)


def add_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


async def adopt(job: Job) -> int:
    """Adopt all that is below known prefixes; list what is not."""
    async with opened(job) as parts:
        adoption = _Adoption(job, parts)
        total = await adoption.count() if job.progress.shows_remaining else None
        job.progress.begin("adopt", "objects", total)
        await parts.inventory.begin_adoption()
        async for users in parts.inventory.users():
            await adoption.adopt(users)
        if not adoption.unreadable:
            await parts.inventory.end_adoption()
        job.progress.end()
        await adoption.look_for_unknown_prefixes()
        adoption.sum_up()
    return FINDINGS if adoption.findings else ALL_WELL


@define
class _Adoption:
    """One run.

    :ivar findings: what needs somebody to look at.
    :ivar adopted: objects that were entered, and their bytes.
    :ivar known: blobs that were objects already.
    :ivar left: blobs whose path was written, or deleted, since.
    :ivar unreadable: blobs that are still to be adopted.
    """

    _job: Job
    _parts: Parts
    findings: int = 0
    adopted: int = 0
    adopted_bytes: int = 0
    known: int = 0
    left: int = 0
    unreadable: int = 0
    _owners: dict[str, int] = field(factory=dict)
    _changed: set[int] = field(factory=set)
    _entering: InBackground = field(factory=InBackground)

    async def count(self) -> int:
        """Return how many legacy blobs there are below known prefixes."""
        self._job.progress.begin("count", "objects")
        count = 0
        async for users in self._parts.inventory.users():
            async for prefixes in self._parts.inventory.prefixes(users[0], users[-1]):
                for _, prefix in prefixes:
                    async for listing in self._parts.listing.blobs(prefix):
                        legacy = _legacy(listing.blobs)
                        count += len(legacy)
                        self._job.advance(len(legacy))
        return count

    async def adopt(self, users: list[int]) -> None:
        """Adopt what belongs to some users, all those from the first to the last."""
        inventory = self._parts.inventory
        before = {size.user_id: size for size in await inventory.sizes(users)}
        # From here on what they store is the sum of their objects, whenever
        # somebody looks, or the power fails.
        wrong = [size.user_id for size in before.values() if size.kept != size.total]
        corrected = await inventory.correct_sizes(wrong) if wrong else []
        before |= {size.user_id: size for size in corrected}
        self._changed.update(size.user_id for size in corrected)
        try:
            await self._adopt_all(users[0], users[-1])
        except Interrupted:
            await self._entering.done()
            await self._report_sizes(before)
            raise
        await self._report_sizes(before)

    async def _adopt_all(self, first_user: int, last_user: int) -> None:
        batches = Batches(self._take)
        async for prefixes in self._parts.inventory.prefixes(first_user, last_user):
            self._owners = {prefix: user for user, prefix in prefixes}
            for _, prefix in prefixes:
                async for listing in self._parts.listing.blobs(prefix):
                    for stray in listing.strays:
                        text = f"not a blob, left alone: {stray}"
                        self._find("stray", text, name=stray)
                    await batches.add(_legacy(listing.blobs))
            await batches.flush()
            await self._entering.done()

    async def look_for_unknown_prefixes(self) -> None:
        """List what nobody owns."""
        async for names in self._parts.listing.prefixes():
            known = await self._parts.inventory.known_prefixes(names)
            for name in names:
                if name not in known:
                    text = f"prefix that the ledger does not know, left alone: {name}"
                    self._find("unknown-prefix", text, prefix=name)
            self._job.interruption.check()

    def sum_up(self) -> None:
        """Say what was done."""
        self._job.report.say(
            "adopted",
            f"{self.adopted:,} objects adopted ({in_bytes(self.adopted_bytes)});"
            f" {self.known:,} were objects already;"
            f" {self.left:,} were overwritten or deleted since",
            objects=self.adopted,
            bytes=self.adopted_bytes,
            known=self.known,
            left=self.left,
            findings=self.findings,
        )

    async def _take(self, blobs: list[ListedBlob]) -> None:
        inventory = self._parts.inventory
        states = await inventory.states(blobs)
        self.known += states.count(BlobState.OBJECT)
        self.left += states.count(BlobState.OTHER) + states.count(BlobState.GARBAGE)
        fresh = [
            blob
            for blob, state in zip(blobs, states, strict=True)
            if state is BlobState.UNKNOWN
        ]
        entries = await self._read(fresh)
        await self._entering.begin(self._enter(entries, len(blobs)))
        self._job.interruption.check()

    async def _enter(self, entries: list[Entry], listed: int) -> None:
        entered: list[bool] = []
        if entries:
            entered = await self._parts.inventory.enter(entries, _is_free)
        for entry, done in zip(entries, entered, strict=True):
            if done:
                self.adopted += 1
                self.adopted_bytes += entry.size
                self._changed.add(self._owners[entry.name.prefix])
            else:
                self.left += 1
        self._job.progress.advance(listed)

    async def _read(self, blobs: list[ListedBlob]) -> list[Entry]:
        """Return what to enter; nothing for a blob that can't be read or is gone."""
        digests = await self._parts.listing.digests(blobs) if blobs else {}
        entries = []
        for blob in blobs:
            digest = digests.get(blob.key)
            if digest is None:
                continue
            if digest.sha256 is None:
                text = f"can't be read, left alone: {blob.key}: {digest.trouble}"
                self._find("unreadable", text, **_named(blob), reason=digest.trouble)
                self.unreadable += 1
                continue
            etag = blob.etag or f'"{digest.sha256}"'
            entries.append(Entry(blob.name, blob.key, blob.size, etag, digest.sha256))
        return entries

    async def _report_sizes(self, before: dict[int, KeptSize]) -> None:
        changed, self._changed = self._changed & before.keys(), set()
        if not changed:
            return
        for now in await self._parts.inventory.sizes(sorted(changed)):
            old = before[now.user_id].kept
            if old != now.kept:
                self._job.report.say(
                    "size",
                    f"user {now.user_id}: {old:,} bytes before, {now.kept:,} now",
                    user=now.user_id,
                    old=old,
                    new=now.kept,
                )

    def _find(self, kind: str, text: str, **facts: object) -> None:
        self.findings += 1
        self._job.report.say(kind, text, **facts)


def _is_free(target: Target, _entry: Entry) -> bool:
    """Adopt where there is no object; what is there is newer."""
    return target.current is None


def _legacy(blobs: tuple[ListedBlob, ...]) -> list[ListedBlob]:
    return [blob for blob in blobs if blob.version is None]


def _named(blob: ListedBlob) -> dict[str, str]:
    return {"prefix": blob.name.prefix, "path": blob.name.path}
