"""What can go wrong, in the domain's own words.

None of these knows HTTP: :mod:`qabel_block.http.problems` holds the one table
that maps them to answers. Each is raised as a fresh instance.
"""


class BlockError(Exception):
    """The base of everything this server refuses or fails to do on purpose."""


class NoAuthorization(BlockError):
    """The request needs an ``Authorization`` header and has none."""


class UnknownUser(BlockError):
    """The accounting server knows no user for this token or user ID."""


class UserDisabled(BlockError):
    """The account is not active; it may read and delete, but not store."""


class NotPermitted(BlockError):
    """The token may not do this, whatever its user may (PROTOCOL section 10)."""


class AccountNotFound(BlockError):
    """Built-in accounts know no user or token of this name."""


class NameTaken(BlockError):
    """Another user has this name."""


class TooManyFailedLogins(BlockError):
    """Too many tokens of one address have failed (PROTOCOL section 10).

    :ivar seconds: after which it is worth to try again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class NotOwner(BlockError):
    """The prefix does not exist or belongs to somebody else."""


class OriginNotAllowed(BlockError):
    """A page of this origin may not open a WebSocket."""


class ObjectNotFound(BlockError):
    """Nothing is stored under this prefix and path."""


class QuotaReached(BlockError):
    """The storage quota or the month's traffic quota does not allow this."""


class TrafficQuotaReached(QuotaReached):
    """The month's traffic quota does not allow this."""


class ControlSizeNeeded(BlockError):
    """A decision needs the size of the repository's control files, which was not
    asked for: ask, and decide again."""


class RepositoryNotFound(ObjectNotFound):
    """The user has no repository of this name."""


class AlreadyStored(BlockError):
    """There is an object of this name, and it is not to be replaced.

    :ivar etag: its quoted ETag.
    :ivar sha256: the hexadecimal digest of its bytes, if that is known.
    """

    def __init__(self, etag: str, sha256: str | None) -> None:
        super().__init__(etag, sha256)
        self.etag = etag
        self.sha256 = sha256


class StoredDiffers(BlockError):
    """There is an object of this name with other bytes, and it is not to be
    replaced."""


class PreconditionFailed(BlockError):
    """``If-Match`` or ``If-None-Match`` does not hold.

    :ivar etag: the current object's quoted ETag, or ``None`` if there is no
        object.
    """

    def __init__(self, etag: str | None) -> None:
        super().__init__(etag)
        self.etag = etag


class BodyTooLarge(BlockError):
    """The body is larger than ``--max-body-size``."""


class BadRequest(BlockError):
    """The request contradicts itself; the message says how."""


class UnsupportedEncoding(BlockError):
    """The body has a content coding, which would be lost."""


class MethodRefused(BlockError):
    """There is no way to do this to this resource."""


class UpgradeRequired(BlockError):
    """The resource is there for WebSocket handshakes only."""


class RangeNotSatisfiable(BlockError):
    """The requested range lies outside the object.

    :ivar size: the object's size in bytes.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class ClientGone(BlockError):
    """The client disconnected before its request was complete."""


class BlobNotFound(BlockError):
    """Storage holds no blob under this key."""


class BlobLost(BlockError):
    """Storage does not hold the blob that the ledger points at: the object's content
    is gone, and trying again does not help."""


class GarbageFull(BlockError):
    """What the owner has replaced and deleted takes too much room in storage.

    :ivar owner_id: whose garbage it is.
    :ivar excess: bytes of it that must go before more may come.
    """

    def __init__(self, owner_id: int, excess: int) -> None:
        super().__init__(owner_id, excess)
        self.owner_id = owner_id
        self.excess = excess


class BlobCollected(BlockError):
    """The collector took a blob before the ledger could point at it.

    :ivar blob_key: which one. It is not shown: prefixes of repositories are secret.
    """

    def __init__(self, blob_key: str) -> None:
        super().__init__("it was collected before it could be committed")
        self.blob_key = blob_key


class Unavailable(BlockError):
    """A dependency is down, too slow, or not usable as configured.

    :ivar dependency: which one, in one word an operator knows: ``database``,
        ``storage``, ``accounting`` or ``cache``.
    :ivar reason: what was observed. It may be shown to clients, so it never
        contains a secret or an address.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency}: {reason}")
        self.dependency = dependency
        self.reason = reason


class WrongStorage(Unavailable):
    """The storage is there, but it is not that of the ledger; the reason says what an
    operator has to do."""

    def __init__(self, reason: str) -> None:
        super().__init__("storage", reason)


class NotMigrated(Unavailable):
    """The database is there, but its schema is that of another version.

    :ivar can_be_migrated: whether this version can change that; ``reason`` ends
        with the command then.
    """

    def __init__(self, reason: str, can_be_migrated: bool = True) -> None:
        super().__init__("database", reason)
        self.can_be_migrated = can_be_migrated


class CannotStart(BlockError):
    """The server can't start as it is told to, and says so in one line."""


class RowLocked(Unavailable):
    """Another transaction holds a lock on a row for too long."""


class OutcomeUnknown(Unavailable):
    """A dependency was lost in the middle of a change: it may have been made."""


class StorageFull(BlockError):
    """There is no room left for another blob."""


def fresh(error: Exception) -> Exception:
    """Return a copy of an error that several are to be told of.

    A shared one would grow its traceback with each that raises it.
    """
    copy = type(error).__new__(type(error), *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy
