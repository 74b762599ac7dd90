"""What this server is made of.

A request comes in over HTTP; an :class:`IAuthenticator` says who is asking;
one domain operation (:mod:`qabel_block.operations.objects`) moves bytes to or from an
:class:`IStorageBackend` and settles the change in the ledger
(:mod:`qabel_block.ledger`), which stands on an
:class:`~qabel_block.ledger.interfaces.IDatabase`. What may be
forgotten lives in an :class:`ICache`; an :class:`INotifier` tells other devices,
on whatever node they are, of a change.

All methods that return awaitables are called on the reactor's thread and must
not block it. Every wait has a limit: where a dependency does not answer in
time, the method raises :class:`~qabel_block.errors.Unavailable`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from zope.interface import Interface

from qabel_block.model import Account, Digest, ListedBlob, Listing


class IBody(Interface):
    """The body of an upload, as it arrives."""

    async def read() -> bytes:
        """Return the bytes that came since the last call; wait for some.

        The first call tells the client to go ahead (``100 Continue``). While
        nobody reads, the client is paused once a fixed buffer is full.

        :return: ``b""`` at the end of the body, from then on always.
        :raises ClientGone: if the connection is lost before that end.
        """


class IBlobWriter(Interface):
    """A new blob on its way into storage, invisible until it is finished.

    Calls come one after the other: each after the one before has returned.
    ``write`` any number of times, then either ``finish`` or ``abort``.
    """

    async def write(data: bytes) -> None:
        """Append ``data``. A slow store returns slowly: this is the
        back-pressure.

        :raises StorageFull: if there is no room.
        :raises Unavailable: if the store fails. After either, only ``abort``
            may follow.
        """

    async def finish() -> None:
        """Make the blob durable under its key.

        When this returns the whole blob survives a power failure; until then
        nothing is to be seen under the key. If it raises, the blob may be
        there or not: the caller has noted the key as garbage before.

        :raises StorageFull: if there is no room.
        :raises Unavailable: if the store fails.
        """

    async def abort() -> None:
        """Forget the blob and all that was written of it.

        May follow any other call but a ``finish`` that returned, and may be
        repeated. Never raises: what it can't remove is left to the sweep.
        """


class IBlobReader(Interface):
    """A part of a blob on its way out.

    Calls come one after the other. ``close`` exactly once, at any time between
    them.
    """

    async def read() -> bytes:
        """Return the next piece, of a size the backend finds good.

        :return: ``b""`` once everything that was asked for has been returned.
        :raises Unavailable: if the store fails or the blob turns out shorter
            than it should be.
        """

    async def close() -> None:
        """Give back what the reader holds. Never raises."""


class IFileBlobReader(IBlobReader):
    """A reader whose bytes the kernel can send by itself."""

    def send(socket: int, size: int) -> int | None:
        """Let the kernel send up to ``size`` of the next bytes to a socket.

        Waits neither for a disk nor for the socket. What is sent is not returned by
        ``read``. Called like that: after the call before has returned.

        :param socket: the descriptor of a socket that does not block.
        :return: how many were sent, at least 1; 0 if ``read`` has to be called for the
            next ones; ``None`` if the socket takes none now.
        """


class IStorageBackend(Interface):
    """Holds blobs: byte strings that never change once they are written.

    The key of a blob is of the grammar in :mod:`qabel_block.names`; anything
    else is a ``ValueError`` and touches nothing.
    """

    async def identity() -> str | None:
        """Return the id of the installation that the store belongs to.

        :return: ``None`` if it has none: it is new, was last used by a version that
            gave no ids, or its disk is not mounted.
        :raises Unavailable: if the store fails.
        """

    async def bind(installation: str) -> None:
        """Make the store ready, as the one of this installation.

        Until this has returned, all but ``identity`` and ``close`` raise
        :class:`~qabel_block.errors.Unavailable`. A store without an id gets this
        one. What crashed uploads have left is swept, without disturbing other
        processes that use the same store. May be repeated.

        From then on a store that turns out to be another installation's, or none's,
        is neither written to nor deleted from, and no blob counts as missing there:
        :class:`~qabel_block.errors.WrongStorage` is raised instead.

        :raises WrongStorage: if the store has another id.
        :raises Unavailable: if the store fails.
        """

    async def create(key: str) -> IBlobWriter:
        """Begin a new blob.

        :param key: a blob key never used before.

        :raises StorageFull: if there is no room.
        :raises Unavailable: if the store fails.
        """

    async def open(key: str, start: int, length: int) -> IBlobReader:
        """Begin to read ``length`` bytes of a blob from offset ``start``.

        Once this has returned, deleting the blob does not disturb the reader.

        :param length: at least 1.
        :raises BlobNotFound: if there is no such blob.
        :raises Unavailable: if the store fails.
        """

    async def delete(keys: Sequence[str]) -> Mapping[str, str]:
        """Delete blobs for good; those that are not there count as deleted.

        :return: for each blob that may still be there, why, in words an operator
            understands. It is safe to ask again.
        :raises Unavailable: if the store fails; any of them may still be there.
        """

    async def check() -> None:
        """Find out whether blobs can be written and read now, and whether this still
        is the installation's store.

        :raises Unavailable: if not, in words an operator understands.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""


class IBlobListing(Interface):
    """Tells what a storage backend holds; for the tools, not for requests.

    Nothing is ever held in memory that grows with the number of blobs, and
    nothing comes in any order. All methods raise
    :class:`~qabel_block.errors.Unavailable` if the store fails, and whoever
    iterates must go on to the end or close the iterator.
    """

    def prefixes() -> AsyncGenerator[Sequence[str], None]:
        """Return the prefixes below which there is anything, page by page; for a while
        some stores also have those that have become empty.

        They are of the grammar of prefixes; whatever else is beside them, ``strays``
        has.
        """

    def strays() -> AsyncGenerator[Sequence[str], None]:
        """Return what is beside the prefixes and can't be one, page by page, as text
        for people; but not what is the storage's own. A directory's empty folders are
        left out."""

    def blobs(prefix: str) -> AsyncGenerator[Listing, None]:
        """Return all that is below a prefix, page by page.

        What comes or goes meanwhile is in it or not; all the rest is, once.

        :raises ValueError: if this is no prefix.
        """

    async def stat(keys: Sequence[str]) -> Mapping[str, ListedBlob]:
        """Return what storage says about some blobs, by their keys; nothing about
        those that are not there."""

    async def digests(blobs: Sequence[ListedBlob]) -> Mapping[str, Digest]:
        """Read some blobs; return for each key what its bytes hash to.

        Blobs that are not there are left out. One that has not the size any more that
        it was listed with, or on a disk the validator, is left out, or can't be read.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""


class IAuthenticator(Interface):
    """Knows users and what is granted to them."""

    async def authenticate(authorization: str, request_id: str) -> Account:
        """Return the account to which an ``Authorization`` header belongs.

        :param authorization: the header's whole value, e.g. ``Token 0123``.
        :param request_id: identifies the request on whose behalf this is
            asked.
        :raises UnknownUser: if there is no such token, or the header is
            malformed.
        :raises Unavailable: if nobody can tell at the moment.
        """

    async def recall(authorization: str, request_id: str) -> Account | None:
        """Return the account of an ``Authorization`` header if that takes no look-up,
        or if the header was good before.

        It is asked for instead of ``authenticate`` where too many tokens have failed.

        :return: ``None`` also if there may be such an account.
        :raises Unavailable: if nobody can tell at the moment.
        """

    async def account(user_id: int, request_id: str) -> Account:
        """Return the account of a user whose token is not at hand.

        :raises UnknownUser: if there is no such user.
        :raises Unavailable: if nobody can tell at the moment.
        """

    async def check() -> None:
        """Find out whether users can be asked for now.

        :raises Unavailable: if not.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""


class ICache(Interface):
    """Keeps small strings for a short time, for all processes that share it.

    It may forget anything at any time.
    """

    async def start() -> None:
        """Make ready, without waiting for a cache that is down."""

    async def get(key: str) -> str | None:
        """Return what was set last under ``key`` and has not expired.

        :raises Unavailable: if the cache can't be asked.
        """

    async def set(key: str, value: str, seconds: int) -> None:
        """Keep ``value`` under ``key`` for this many seconds, at least 1.

        :raises Unavailable: if the cache can't be told.
        """

    async def count(key: str, seconds: int) -> tuple[int, float]:
        """Add one to a count that is forgotten this many seconds after its first.

        Counts of all who share the cache are one after the other: no two get the same
        number.

        :param key: under which nothing is ever set.
        :return: the count, and for how many seconds more it is kept.
        :raises Unavailable: if the cache can't be told.
        """

    async def check() -> None:
        """Find out whether the cache answers.

        :raises Unavailable: if not.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""


class IListener(Interface):
    """Hears what an :class:`INotifier` brings."""

    def deliver(prefix: str, message: str) -> None:
        """Take a message that was published for a prefix that was joined."""

    def interrupted() -> None:
        """Take note that messages may have been missed, for any prefix."""


class INotifier(Interface):
    """Carries messages about changes from each node to all nodes.

    Messages of one node about one prefix arrive in the order in which they were
    published. A message may be lost, but never without ``interrupted`` being
    called where it would have arrived.
    """

    def start(listener: IListener) -> None:
        """Begin. Called once, before anything else; does not wait for a
        dependency that is down."""

    async def join(prefix: str) -> None:
        """Hear of a prefix. When this returns, nothing that is published from
        now on is missed.

        :raises Unavailable: if that can't be had now.
        """

    async def leave(prefix: str) -> None:
        """Hear of a prefix no more. Never raises."""

    def publish(prefix: str, message: str) -> None:
        """Send a message to all nodes on which the prefix was joined, this one
        included. Neither waits nor raises: the change it tells of is made."""

    def connections() -> int:
        """Return how many connections to a broker are open now."""

    async def check() -> None:
        """Find out whether messages arrive at the moment.

        :raises Unavailable: if not.
        """

    async def close() -> None:
        """Release everything. Nothing else is called afterwards."""
