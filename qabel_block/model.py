"""The values that the parts hand to each other. All are immutable."""

from __future__ import annotations

from attrs import frozen

from qabel_block.errors import UserDisabled


@frozen
class Account:
    """What the accounting server says about a user (PROTOCOL section 5).

    :ivar storage_quota: bytes the user may store.
    :ivar traffic_quota: bytes that may be downloaded a calendar month (UTC)
        from the user's prefixes.
    :ivar any_prefix: whether the user may write below every prefix, and takes
        one over by writing below it first (``--dummy-auth`` only).
    """

    user_id: int
    active: bool
    storage_quota: int
    traffic_quota: int
    any_prefix: bool = False

    def require_active(self) -> None:
        """Allow uploads and new prefixes to active accounts only.

        :raises UserDisabled: if this one is not.
        """
        if not self.active:
            raise UserDisabled


@frozen
class ObjectName:
    """Where an object is: ``<prefix>/<path>``, both of PROTOCOL's grammar."""

    prefix: str
    path: str

    def __str__(self) -> str:
        return f"{self.prefix}/{self.path}"


@frozen
class StoredObject:
    """One version of an object, as the ledger has it.

    :ivar blob_key: the key of its blob in storage.
    :ivar size: bytes.
    :ivar etag: the strong validator, with its quotes.
    :ivar sha256: lower-case hexadecimal digest of the bytes; ``None`` for an
        adopted object that nobody has read yet.
    """

    blob_key: str
    size: int
    etag: str
    sha256: str | None


@frozen
class Target:
    """The state of the ledger that decides about a change to one object.

    :ivar owner_id: the user to whom the prefix belongs.
    :ivar used: bytes the owner stores now, this object included.
    :ivar current: the object as it is now, or ``None``.
    """

    owner_id: int
    used: int
    current: StoredObject | None

    @property
    def etag(self) -> str | None:
        """The current object's ETag, if there is an object."""
        return None if self.current is None else self.current.etag

    @property
    def size(self) -> int | None:
        """The current object's size in bytes, if there is an object."""
        return None if self.current is None else self.current.size


@frozen
class Found:
    """An object that was looked up for reading.

    :ivar owner_id: the user to whom the prefix belongs and who pays for the
        traffic.
    :ivar traffic: bytes the ledger has counted for the owner this month.
    """

    stored: StoredObject
    owner_id: int
    traffic: int


@frozen
class NotedBlob:
    """A blob that is complete, but garbage until the ledger points at it.

    :ivar noted: the time stamp of its garbage note. The commit takes exactly
        this note away, and so finds out if the collector was faster.
    """

    blob_key: str
    size: int
    etag: str
    sha256: str
    noted: str


@frozen
class Change:
    """What a committed change did.

    :ivar owner_id: whose storage it counts against.
    :ivar grown: by how many bytes the owner's storage grew; negative when
        space was freed.
    """

    owner_id: int
    grown: int


@frozen
class TrafficCount:
    """Body bytes of downloads to add to one owner's month.

    :ivar month: the first day of the month (UTC) as ``YYYY-MM-01``.
    """

    user_id: int
    month: str
    traffic: int


@frozen
class UserUsage:
    """What a user costs.

    :ivar stored: bytes of all objects.
    :ivar downloaded: bytes of downloads in one month.
    """

    user_id: int
    stored: int
    downloaded: int
