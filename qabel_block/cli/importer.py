"""Enters blobs that are in storage in the ledger, user by user.

What becomes an object is decided in one transaction, in which the owner is locked:
blobs that are noted as garbage don't come back, and what clients do meanwhile comes
before or after it. What the ledger knows of a blob is asked before it is read. So
it can't have been deleted as garbage between the two, and then entered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from qabel_block.cli.batching import BackgroundTask, BlobBatcher
from qabel_block.cli.context import CommandContext, CommandParts
from qabel_block.cli.runner import Interrupted
from qabel_block.cli.unknown_prefixes import split_known
from qabel_block.ledger.reconcile import Rule
from qabel_block.model import (
    BlobRecord,
    BlobState,
    ImportedBlob,
    ListedBlob,
    SizeMismatch,
)


@frozen
class ImportChoice:
    """Which blobs become objects.

    :ivar concerned: whether a blob is looked at, at all.
    :ivar wanted: whether to read and enter one, after what the ledger said.
    :ivar rule: the same, within the transaction.
    """

    concerned: Callable[[ListedBlob], bool]
    wanted: Callable[[ListedBlob, BlobRecord], bool]
    rule: Rule


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
        self._context.progress.begin(what, "blobs", total)
        async for users in self._parts.maintenance.users():
            await self._run(users)
        self._context.progress.end()
        await self._look_for_unknown_prefixes()

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
                    for stray in listing.strays:
                        text = f"not a blob, left alone: {stray}"
                        self.add_finding("stray", text, name=stray)
                    await batches.add(filter(self._choice.concerned, listing.blobs))
            await batches.flush()
            await self._entering.done()

    async def _take(self, blobs: list[ListedBlob]) -> None:
        known = await self._parts.maintenance.states(blobs)
        wanted = _newest(
            blob
            for blob, state in zip(blobs, known, strict=True)
            if self._choice.wanted(blob, state)
        )
        objects = sum(state.state is BlobState.OBJECT for state in known)
        self.known += objects
        self.left += len(blobs) - len(wanted) - objects
        entries = await self._read(wanted)
        await self._entering.begin(self._enter(entries, len(blobs)))
        self._context.interruption.check()

    async def _enter(self, entries: list[ImportedBlob], listed: int) -> None:
        entered: list[bool] = []
        if entries:
            entered = await self._parts.maintenance.import_blobs(
                entries, self._choice.rule
            )
        for entry, done in zip(entries, entered, strict=True):
            if done:
                self.entered += 1
                self.entered_bytes += entry.size
                self._changed.add(self._owners[entry.name.prefix])
            else:
                self.left += 1
        self._context.progress.advance(listed)

    async def _read(self, blobs: list[ListedBlob]) -> list[ImportedBlob]:
        """Return what to enter; nothing for a blob that can't be read or is gone."""
        digests = await self._parts.listing.digests(blobs) if blobs else {}
        entries = []
        for blob in blobs:
            digest = digests.get(blob.key)
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
                ImportedBlob(blob.name, blob.key, blob.size, etag, digest.sha256)
            )
        return entries

    async def _look_for_unknown_prefixes(self) -> None:
        """List what nobody owns."""
        async for names in self._parts.listing.prefixes():
            _, unknown = await split_known(self._parts, names)
            for name in unknown:
                text = f"prefix that the ledger does not know, left alone: {name}"
                self.add_finding("unknown-prefix", text, prefix=name)
            self._context.interruption.check()


def _newest(blobs: Iterable[ListedBlob]) -> list[ListedBlob]:
    """Return the newest blob of each name. Keys of one name sort by their versions,
    the legacy server's first."""
    newest = {blob.name: blob for blob in sorted(blobs, key=lambda blob: blob.key)}
    return list(newest.values())
