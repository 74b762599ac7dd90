"""``qabel-block verify``: the ledger against storage.

The server may run meanwhile: each finding is looked at twice, so that what changes
between two looks is none.
"""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import define

from qabel_block.cli.batching import BYTES, BlobBatcher
from qabel_block.cli.collect import add_grace, chosen_grace
from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext, CommandParts, open_parts
from qabel_block.cli.known import KnownNames
from qabel_block.cli.locations import GRACE, PLACES
from qabel_block.cli.runner import ALL_WELL, FINDINGS
from qabel_block.cli.unknown_prefixes import split_known
from qabel_block.config.config import LocalDirectory
from qabel_block.model import BlobRecord, BlobState, LedgerObject, ListedBlob
from qabel_block.names import time_of


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--read",
        action=BooleanOptionalAction,
        default=None,
        help="Read every blob and compare its SHA-256 [default: on local storage].",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="Correct what users store, and delete unknown blobs that are older than"
        " the grace period. Nothing else is touched.",
    )
    parser.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="Count, but do not report, what is no blob (strays) and prefixes that the"
        " ledger does not know if they are named in this file, one a line.",
    )
    parser.add_argument(
        "--remember",
        action="store_true",
        help="Add those that are found to the file that --known names.",
    )
    add_grace(parser, "How old unknown blobs must be for --repair")


async def verify(context: CommandContext) -> int:
    """Look at every object, every blob and every user.

    :raises CommandFailed: if the file of known names can't be used.
    """
    known = KnownNames(context.arguments.known, context.arguments.remember)
    read = context.arguments.read
    if read is None:
        read = isinstance(context.locations.storage, LocalDirectory)
    async with open_parts(context) as parts:
        await parts.identity.compare()
        verification = _Verification(context, parts, read, known)
        await verification.check_objects()
        await verification.check_blobs()
        await verification.check_users()
        known.save()
        verification.report_summary()
    return FINDINGS if verification.findings else ALL_WELL


@define
class _Verification:
    """One run."""

    _context: CommandContext
    _parts: CommandParts
    _read: bool
    _known: KnownNames
    findings: int = 0
    repaired: int = 0
    objects: int = 0
    blobs: int = 0
    users: int = 0

    async def check_objects(self) -> None:
        """Has each object its blob?"""
        total = await self._parts.maintenance.count_objects()
        self._context.progress.begin("objects", "objects", total)
        async for page in self._parts.maintenance.objects():
            for some in _bounded(page):
                await self._compare(some)
                self._context.advance(len(some))
            self.objects += len(page)
        self._context.progress.end()

    async def check_blobs(self) -> None:
        """Is each blob known?"""
        self._context.progress.begin("blobs", "blobs", self.objects)
        async for strays in self._parts.listing.strays():
            self._find_strays(strays)
        async for names in self._parts.listing.prefixes():
            known, unknown = await split_known(self._parts, names)
            for name in unknown:
                if not self._known.know(name):
                    text = "prefix that the ledger does not know"
                    self._find("unknown-prefix", text, name, {"prefix": name})
            batches = BlobBatcher(self._identify)
            for name in sorted(known):
                async for listing in self._parts.listing.blobs(name):
                    self._find_strays(listing.strays)
                    await batches.add(listing.blobs)
            await batches.flush()
            self._context.interruption.check()
        self._context.progress.end()

    async def check_users(self) -> None:
        """Is what users store the sum of their objects?"""
        maintenance = self._parts.maintenance
        self._context.progress.begin("users", "users")
        async for users in maintenance.users():
            wrong = [s for s in await maintenance.sizes(users) if s.kept != s.total]
            repair = self._context.arguments.repair
            if wrong and repair:
                ids = [size.user_id for size in wrong]
                wrong = await maintenance.correct_sizes(ids)
            for size in wrong:
                self._find(
                    "user-size",
                    "the size of a user is not the sum of the objects",
                    f"user {size.user_id}: {size.kept:,}, should be {size.total:,}",
                    {"user": size.user_id, "kept": size.kept, "total": size.total},
                    repair,
                )
            self.users += len(users)
            self._context.advance(len(users))
        self._context.progress.end()

    def report_summary(self) -> None:
        """Say what was looked at, and how it is."""
        path, met = self._known.path, self._known.met
        more = f"; {met:,} known, in {path}" if path else ""
        self._context.report.say(
            "verified",
            f"{self.objects:,} objects, {self.blobs:,} blobs"
            f" ({'read' if self._read else 'not read'}), {self.users:,} users:"
            f" {self.findings:,} findings, {self.repaired:,} of them repaired{more}",
            objects=self.objects,
            blobs=self.blobs,
            users=self.users,
            read=self._read,
            findings=self.findings,
            repaired=self.repaired,
            known=self._known.met,
        )

    async def _compare(self, objects: list[LedgerObject]) -> None:
        found = await self._parts.listing.stat([one.blob_key for one in objects])
        missing = [one for one in objects if one.blob_key not in found]
        good = []
        for one in objects:
            if not one.owned:
                self._find_object("orphan", "object below an unknown prefix", one)
            blob = found.get(one.blob_key)
            if blob is not None and blob.size != one.size:
                text = f"blob of {blob.size:,} bytes instead of {one.size:,}"
                self._find_object("wrong-size", text, one, size=blob.size)
            elif blob is not None:
                good.append((one, blob))
        await self._find_missing(missing)
        if self._read and good:
            await self._read_blobs(good)

    async def _find_missing(self, objects: list[LedgerObject]) -> None:
        """Report those that are not merely deleted meanwhile."""
        still = await self._parts.maintenance.unchanged(objects) if objects else []
        for one in still:
            self._find_object("missing-blob", "missing blob", one)

    async def _read_blobs(self, pairs: list[tuple[LedgerObject, ListedBlob]]) -> None:
        digests = await self._parts.listing.digests([blob for _, blob in pairs])
        gone = [one for one, blob in pairs if blob.key not in digests]
        for one, blob in pairs:
            digest = digests.get(blob.key)
            if digest is not None and digest.sha256 is None:
                text = f"blob that can't be read ({digest.trouble})"
                self._find_object("unreadable-blob", text, one, reason=digest.trouble)
            elif digest is not None and one.sha256 not in (None, digest.sha256):
                text = "damaged blob: its SHA-256 is another"
                self._find_object("damaged-blob", text, one, sha256=digest.sha256)
        await self._find_missing(gone)

    def _find_strays(self, strays: Iterable[str]) -> None:
        for stray in strays:
            if not self._known.know(stray):
                self._find("stray", "not a blob", stray, {"name": stray})

    async def _identify(self, blobs: list[ListedBlob]) -> None:
        known = await self._parts.maintenance.states(blobs)
        strange = {
            blob.key: (blob, state)
            for blob, state in zip(blobs, known, strict=True)
            if state.state in (BlobState.UNKNOWN, BlobState.OTHER)
        }
        if strange:
            # What the collector has deleted meanwhile was none.
            still = await self._parts.listing.stat(list(strange))
            there = [pair for key, pair in strange.items() if key in still]
            await self._find_unknown(there)
        self.blobs += len(blobs)
        self._context.advance(len(blobs))

    async def _find_unknown(self, blobs: list[tuple[ListedBlob, BlobRecord]]) -> None:
        doomed = [
            blob
            for blob, known in blobs
            if self._context.arguments.repair and self._is_deletable(blob, known)
        ]
        deleted = await self._delete(doomed) if doomed else set()
        for blob, known in blobs:
            kind, text = "unknown-blob", "unknown blob"
            if _is_not_adopted(blob, known):
                kind, text = "not-adopted", "blob of the legacy server; run adopt"
            facts = {**blob.name.record(), "key": blob.key, "size": blob.size}
            self._find(kind, text, blob.key, facts, blob.key in deleted)

    def _is_deletable(self, blob: ListedBlob, known: BlobRecord) -> bool:
        begun = time_of(blob.version) if blob.version else 0.0
        age = self._context.now() - max(begun, blob.modified)
        old = age >= chosen_grace(self._context)
        return old and not _is_not_adopted(blob, known)

    async def _delete(self, blobs: list[ListedBlob]) -> set[str]:
        """Delete blobs as the collector does: noted first, forgotten last."""
        keys = await self._parts.maintenance.note_unknown(blobs)
        failed = await self._parts.storage.delete(keys) if keys else {}
        deleted = [key for key in keys if key not in failed]
        if deleted:
            await self._parts.ledger.forget_garbage(deleted)
        return set(deleted)

    def _find_object(
        self, kind: str, text: str, one: LedgerObject, **facts: object
    ) -> None:
        self._find(kind, text, str(one.name), {**one.name.record(), **facts})

    def _find(
        self,
        kind: str,
        text: str,
        where: str,
        facts: Mapping[str, object],
        repaired: bool = False,
    ) -> None:
        self.findings += 1
        self.repaired += repaired
        mended = " (repaired)" if repaired else ""
        self._context.report.say(
            kind, f"{text}: {where}{mended}", **facts, repaired=repaired
        )


def _bounded(objects: list[LedgerObject]) -> Iterator[list[LedgerObject]]:
    """Take a page apart, so that what is read at a time is soon read."""
    some: list[LedgerObject] = []
    size = 0
    for one in objects:
        some.append(one)
        size += one.size
        if size >= BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _is_not_adopted(blob: ListedBlob, known: BlobRecord) -> bool:
    return blob.version is None and known.state is BlobState.UNKNOWN


COMMANDS = {"verify": Implementation(verify, (*PLACES, GRACE), _add_arguments)}
