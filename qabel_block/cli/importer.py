"""Enters blobs that are in storage in the ledger, user by user.

What becomes an object is decided in one transaction, in which the owner is locked:
blobs that are noted as garbage don't come back, and what clients do meanwhile comes
before or after it. What the ledger knows of a blob is asked before it is read. So
it can't have been deleted as garbage between the two, and then entered.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field

from qabel_block.cli.batching import BackgroundTask, BlobBatcher
from qabel_block.cli.context import CommandContext, CommandParts
from qabel_block.cli.import_choice import Candidate, ImportChoice, is_as_chosen
from qabel_block.cli.runner import Interrupted
from qabel_block.cli.unknown_prefixes import split_known
from qabel_block.model import Digest, ImportedBlob, ListedBlob, SizeMismatch

CHANGED = "it has changed since it was listed; does the legacy server still write?"


@define
class Importer:
    """One run over all known prefixes.

    :ivar findings: what needs somebody to look at.
    :ivar entered: objects that were entered, and their bytes.
    :ivar known: blobs that were objects already.
    :ivar left: blobs that are garbage, or give way to another.
    :ivar unreadable: blobs that are still to be entered.
    """

    _context: CommandContext
    _parts: CommandParts
    _choice: ImportChoice
    findings: int = 0
    entered: int = 0
    entered_bytes: int = 0
    known: int = 0
    left: int = 0
    unreadable: int = 0
    _owners: dict[str, int] = field(factory=dict)
    _changed: set[int] = field(factory=set)
    _entering: BackgroundTask = field(factory=BackgroundTask)

    async def run(self, what: str) -> None:
        """Enter all that is to be entered.

        :param what: the name of it.
        """
        total = await self._count() if self._context.progress.shows_remaining else None
        await self._run_all(what, total)
        await self._look_beside_known_prefixes()

    async def replace_missing(self) -> None:
        """After :meth:`run`, make older blobs the objects whose own are missing."""
        self._choice = evolve(self._choice, missing=True)
        await self._run_all("replace missing blobs", None)

    def add_finding(self, kind: str, text: str, **facts: object) -> None:
        """Report a finding."""
        self.findings += 1
        self._context.report.say(kind, text, **facts)

    async def report_sizes(self, before: dict[int, SizeMismatch]) -> None:
        """Say what users store whose objects have changed."""
        changed, self._changed = self._changed & before.keys(), set()
        if not changed:
            return
        for now in await self._parts.maintenance.sizes(sorted(changed)):
            old = before[now.user_id].kept
            if old != now.kept:
                self._context.report.say(
                    "size",
                    f"user {now.user_id}: {old:,} bytes before, {now.kept:,} now",
                    user=now.user_id,
                    old=old,
                    new=now.kept,
                )

    async def _count(self) -> int:
        """Return how many blobs there are to look at."""
        self._context.progress.begin("count", "blobs")
        count = 0
        async for users in self._parts.maintenance.users():
            async for prefixes in self._parts.maintenance.prefixes(users[0], users[-1]):
                for _, prefix in prefixes:
                    async for listing in self._parts.listing.blobs(prefix):
                        more = sum(map(self._choice.concerned, listing.blobs))
                        count += more
                        self._context.advance(more)
        return count

    async def _run_all(self, what: str, total: int | None) -> None:
        self._context.progress.begin(what, "blobs", total)
        async for users in self._parts.maintenance.users():
            await self._run(users)
        self._context.progress.end()

    async def _run(self, users: list[int]) -> None:
        """Enter what belongs to some users, all those from the first to the last."""
        maintenance = self._parts.maintenance
        before = {size.user_id: size for size in await maintenance.sizes(users)}
        # From here on what they store is the sum of their objects, whenever
        # somebody looks, or the power fails.
        wrong = [size.user_id for size in before.values() if size.kept != size.total]
        corrected = await maintenance.correct_sizes(wrong) if wrong else []
        before |= {size.user_id: size for size in corrected}
        self._changed.update(size.user_id for size in corrected)
        try:
            await self._enter_all(users[0], users[-1])
        except Interrupted:
            await self._entering.done()
            await self.report_sizes(before)
            raise
        await self.report_sizes(before)

    async def _enter_all(self, first_user: int, last_user: int) -> None:
        batches = BlobBatcher(self._take)
        async for prefixes in self._parts.maintenance.prefixes(first_user, last_user):
            self._owners = {prefix: user for user, prefix in prefixes}
            for _, prefix in prefixes:
                async for listing in self._parts.listing.blobs(prefix):
                    if not self._choice.missing:
                        self._name_strays(listing.strays)
                    await batches.add(filter(self._choice.concerned, listing.blobs))
            await batches.flush()
            await self._entering.done()

    def _name_strays(self, strays: Iterable[str]) -> None:
        for stray in strays:
            text = f"not a blob, left alone: {stray}"
            self.add_finding("stray", text, name=stray)

    async def _take(self, blobs: list[ListedBlob]) -> None:
        if self._choice.older:
            # What the batch before has entered may be older than these.
            await self._entering.done()
        wanted, objects = await self._choice.choose(self._parts, blobs)
        if not self._choice.missing:
            self.known += objects
            self.left += len(blobs) - len(wanted) - objects
        entries = await self._read(wanted)
        await self._entering.begin(self._enter(entries, len(blobs)))
        self._context.interruption.check()

    async def _enter(self, entries: list[ImportedBlob], listed: int) -> None:
        entered: list[bool] = []
        if entries:
            entered = await self._parts.maintenance.import_blobs(entries, is_as_chosen)
        for entry, done in zip(entries, entered, strict=True):
            if done:
                self.entered += 1
                self.entered_bytes += entry.size
                self._changed.add(self._owners[entry.name.prefix])
            if self._choice.missing and done and entry.replaces:
                self.left -= 1
                self._report_older(entry)
            elif not self._choice.missing and not done:
                self.left += 1
        self._context.progress.advance(listed)

    def _report_older(self, entry: ImportedBlob) -> None:
        self._context.report.say(
            "older-blob",
            f"blob is missing, an older one is the object now: {entry.name}",
            **entry.name.record(),
            key=entry.blob_key,
        )

    async def _read(self, wanted: list[Candidate]) -> list[ImportedBlob]:
        """Return what to enter; nothing for a blob that can't be read or is gone."""
        blobs = [one.blob for one in wanted]
        digests = await self._parts.listing.digests(blobs) if blobs else {}
        missing = [blob.key for blob in blobs if blob.key not in digests]
        changed = await self._parts.listing.stat(missing) if missing else {}
        entries = []
        for blob, replaces in ((one.blob, one.replaces) for one in wanted):
            digest = digests.get(blob.key)
            if blob.key in changed:
                digest = Digest(None, CHANGED)
            if digest is None:
                continue
            if digest.sha256 is None:
                self.unreadable += 1
                self.add_finding(
                    "unreadable-blob",
                    f"can't be read, left alone: {blob.key}: {digest.trouble}",
                    prefix=blob.name.prefix,
                    path=blob.name.path,
                    reason=digest.trouble,
                )
                continue
            etag = blob.version and f'"{blob.version}"'
            etag = etag or blob.etag or f'"{digest.sha256}"'
            entries.append(
                ImportedBlob(
                    blob.name, blob.key, blob.size, etag, digest.sha256, replaces
                )
            )
        return entries

    async def _look_beside_known_prefixes(self) -> None:
        """List what nobody owns, and what is beside the prefixes."""
        async for strays in self._parts.listing.strays():
            self._name_strays(strays)
        async for names in self._parts.listing.prefixes():
            _, unknown = await split_known(self._parts, names)
            for name in unknown:
                text = f"prefix that the ledger does not know, left alone: {name}"
                self.add_finding("unknown-prefix", text, prefix=name)
            self._context.interruption.check()
