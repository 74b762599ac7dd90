"""The values that the parts hand to each other. All are immutable."""

from __future__ import annotations

from enum import Enum

from attrs import field, frozen

from qabel_block.errors import UserDisabled


class Permission(Enum):
    """What a token may do of all that its user may (PROTOCOL section 10)."""

    FULL = "full"
    APPEND_ONLY = "append-only"
    READ_ONLY = "read-only"


@frozen
class Account:
    """A user, as known to whoever keeps the accounts (PROTOCOL sections 5 and 10).

    :ivar storage_quota: bytes the user may store.
    :ivar traffic_quota: bytes that may be downloaded a calendar month (UTC)
        from the user's prefixes.
    :ivar any_prefix: whether the user may write below every prefix, and takes
        one over by writing below it first (``--dummy-auth`` only).
    :ivar permission: what the token of the request may do; ``FULL`` where there is
        no token, as in a look for the owner of a prefix.
    """

    user_id: int
    active: bool
    storage_quota: int
    traffic_quota: int
    any_prefix: bool = False
    permission: Permission = Permission.FULL

    def require_active(self) -> None:
        """Allow uploads and new prefixes to active accounts only.

        :raises UserDisabled: if this one is not.
        """
        if not self.active:
            raise UserDisabled


UNLIMITED = 2**63 - 1
"""A quota that nobody reaches, in bytes."""


@frozen
class User:
    """A user of built-in accounts, as an operator sees one.

    :ivar storage_quota: bytes; :data:`UNLIMITED` for any number. So is
        ``traffic_quota``, of a calendar month.
    :ivar created: as ISO 8601 in UTC.
    :ivar erasing: whether all that the user has is being deleted.
    :ivar stored: bytes of all objects.
    :ivar downloaded: bytes of downloads in this month.
    """

    user_id: int
    active: bool
    storage_quota: int
    traffic_quota: int
    name: str
    created: str
    erasing: bool
    stored: int
    downloaded: int


@frozen
class NewToken:
    """A token that is to be made.

    :ivar sha256: hexadecimal digest of the token, which itself is nowhere.
    :ivar expires: seconds since 1970; ``None`` for never.
    """

    sha256: str
    permission: Permission = Permission.FULL
    label: str = ""
    expires: int | None = None


@frozen
class Token:
    """A token of a user of built-in accounts, as an operator sees one.

    :ivar id: a number by which this user's tokens are told apart.
    :ivar created: as ISO 8601 in UTC.
    :ivar expires: seconds since 1970; ``None`` for never.
    """

    id: int
    permission: Permission
    label: str
    created: str
    expires: int | None
    revoked: bool


@frozen
class ObjectName:
    """Where an object is: ``<prefix>/<path>``, both of PROTOCOL's grammar."""

    prefix: str
    path: str

    def __str__(self) -> str:
        return f"{self.prefix}/{self.path}"

    def record(self) -> dict[str, str]:
        """Return it as a part of a record of JSON."""
        return {"prefix": self.prefix, "path": self.path}


@frozen
class ChangeEvent:
    """A change of an object that is durable.

    :ivar etag: the new version's, ``None`` if the object was deleted.
    """

    name: ObjectName
    etag: str | None


@frozen
class StoredObject:
    """One version of an object, as the ledger has it.

    :ivar blob_key: the key of its blob in storage.
    :ivar size: bytes.
    :ivar etag: the strong validator, with its quotes.
    :ivar sha256: lower-case hexadecimal digest of the bytes; ``None`` for an
        adopted object that nobody has read yet.
    :ivar modified: when it became the object, in seconds since 1970; ``None`` if that
        is not known, as of an adopted object.
    """

    blob_key: str
    size: int
    etag: str
    sha256: str | None
    modified: int | None = field(default=None, eq=False)


@frozen
class WriteState:
    """The state of the ledger that decides about a change to one object.

    :ivar owner_id: the user to whom the prefix belongs.
    :ivar used: bytes the owner stores now, this object included.
    :ivar current: the object as it is now, or ``None``.
    :ivar adopting: whether there may be a blob of the legacy server that would
        become this object if it is not replaced or deleted before.
    :ivar control: bytes of the control files of the restic repository below the
        prefix; ``None`` unless it was asked for.
    :ivar garbage: bytes of the owner's blobs that were replaced or deleted, and are
        still in storage.
    :ivar latest: the time of the newest version that the owner ever stored, in
        milliseconds since 1970; 0 if there is none.
    """

    owner_id: int
    used: int
    current: StoredObject | None
    adopting: bool = False
    control: int | None = None
    garbage: int = field(default=0, eq=False)
    latest: int = field(default=0, eq=False)

    @property
    def etag(self) -> str | None:
        """The current object's ETag, if there is an object."""
        return None if self.current is None else self.current.etag

    @property
    def size(self) -> int | None:
        """The current object's size in bytes, if there is an object."""
        return None if self.current is None else self.current.size

    @property
    def modified(self) -> int | None:
        """When the current object became that, if there is one and it is known."""
        return None if self.current is None else self.current.modified


@frozen
class ReadState:
    """An object that was looked up for reading.

    :ivar owner_id: the user to whom the prefix belongs and who pays for the
        traffic.
    :ivar traffic: bytes the ledger has counted for the owner this month.
    """

    stored: StoredObject
    owner_id: int
    traffic: int


@frozen
class RepositoryUsage:
    """What a restic repository holds.

    :ivar user: the user's name, if built-in accounts have one.
    :ivar files: how many.
    :ivar size: their bytes.
    :ivar last_snapshot: when a snapshot was stored last, as ISO 8601 in UTC.
    """

    user_id: int
    user: str | None
    name: str
    files: int
    size: int
    last_snapshot: str | None


@frozen
class PendingBlob:
    """A blob that is complete, but garbage until the ledger points at it."""

    blob_key: str
    size: int
    etag: str
    sha256: str

    def record(self) -> dict[str, str | int]:
        """Return it as a part of a record of JSON."""
        return {
            "blob_key": self.blob_key,
            "size": self.size,
            "etag": self.etag,
            "sha256": self.sha256,
        }


@frozen
class ListedBlob:
    """A blob as storage lists it.

    :ivar key: its key; the next two are what it consists of.
    :ivar version: ``None`` for a blob of the legacy server.
    :ivar size: bytes.
    :ivar modified: seconds since 1970.
    :ivar etag: the validator that the legacy server had for it, with quotes;
        ``None`` if there is none that can be used.
    """

    key: str
    name: ObjectName
    version: str | None
    size: int
    modified: float
    etag: str | None


@frozen
class Listing:
    """A part of what is below a prefix.

    :ivar strays: what can't be a blob, as text for people: other names, and what
        is no regular file.
    """

    blobs: tuple[ListedBlob, ...]
    strays: tuple[str, ...] = ()


@frozen
class Digest:
    """What the bytes of a blob hash to.

    :ivar sha256: lower-case hexadecimal digest; ``None`` if they can't be read.
    :ivar trouble: why not.
    """

    sha256: str | None
    trouble: str = ""


@frozen
class Change:
    """What a committed change did.

    :ivar owner_id: whose storage it counts against.
    :ivar grown: by how many bytes the owner's storage grew; negative when
        space was freed.
    :ivar outdated: the key of the blob that was replaced although its version is
        the later one: it must not be found by who rebuilds a lost ledger.
    :ivar garbage: bytes of the owner's garbage after the change.
    """

    owner_id: int
    grown: int
    outdated: str | None = None
    garbage: int = field(default=0, eq=False)


@frozen
class TrafficCount:
    """Body bytes of downloads to add to one owner's month.

    :ivar month: the first day of the month (UTC) as ``YYYY-MM-01``.
    """

    user_id: int
    month: str
    traffic: int


@frozen
class Installation:
    """The identity of one ledger and its storage.

    :ivar id: a UUID4; the same in both.
    :ivar confirmed: whether some storage is known to have had this id. If not, the
        ledger made the id up and nothing depends on it yet.
    """

    id: str
    confirmed: bool


@frozen
class UserUsage:
    """What a user costs.

    :ivar stored: bytes of all objects.
    :ivar downloaded: bytes of downloads in one month.
    """

    user_id: int
    stored: int
    downloaded: int


@frozen
class SizeMismatch:
    """What the ledger says that a user stores.

    :ivar kept: bytes, as it is kept.
    :ivar total: bytes, as the objects add up.
    """

    user_id: int
    kept: int
    total: int


class BlobState(Enum):
    """Whether a blob is an object, garbage, or neither, as the ledger has it.

    ``OBJECT`` is what somebody reads. ``GARBAGE`` will be deleted. An unknown blob
    is ``UNKNOWN`` if there is no object of its name, ``OTHER`` if there is.
    """

    OBJECT = "object"
    GARBAGE = "garbage"
    UNKNOWN = "unknown"
    OTHER = "other"


@frozen
class BlobRecord:
    """The ledger's record of a blob: its state, and its name's current blob.

    :ivar current: the key of the blob that is the object of its name, if any.
    """

    state: BlobState
    current: str | None


@frozen
class LedgerObject:
    """An object as the ledger has it.

    :ivar owned: whether its prefix exists.
    """

    name: ObjectName
    blob_key: str
    size: int
    sha256: str | None
    owned: bool


@frozen
class ImportedBlob:
    """A blob that is to be entered in the ledger as an object.

    :ivar replaces: the key of the blob that is the object now, as far as is known;
        ``None`` if there is none.
    """

    name: ObjectName
    blob_key: str
    size: int
    etag: str
    sha256: str
    replaces: str | None = None
