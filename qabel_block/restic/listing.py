"""Lists the files of a repository in JSON, as fast as the client takes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from twisted.internet.interfaces import IReactorTime
from werkzeug.http import parse_accept_header

from qabel_block.http.body_producer import BodyProducer
from qabel_block.http.headers import accepted
from qabel_block.http.transport.request import StreamingRequest

V1 = "application/vnd.x.restic.rest.v1"
V2 = "application/vnd.x.restic.rest.v2"

Files = AsyncGenerator[list[tuple[str, int]], None]


def _id(path: str, _size: int) -> str:
    return f'"{path.rpartition("/")[2]}"'


def _name_and_size(path: str, size: int) -> str:
    return f'{{"name":"{path.rpartition("/")[2]}","size":{size}}}'


def choose_version(request: StreamingRequest) -> tuple[str, Callable[[str, int], str]]:
    """Return a list's ``Content-Type`` and what writes an entry of it.

    Only who names version 2 gets it.
    """
    kinds = parse_accept_header(accepted(request))
    if any(kind.lower() == V2 and quality > 0 for kind, quality in kinds):
        return V2, _name_and_size
    return V1, _id


async def send_list(
    request: StreamingRequest, files: Files, clock: IReactorTime
) -> None:
    """Send the files page by page; one page is in memory at a time.

    :param clock: limits how long a client may stall.
    :raises ClientGone: if the client leaves or stalls.
    :raises Unavailable: if the ledger fails. The answer may have begun by then.
    """
    kind, entry = choose_version(request)
    producer = BodyProducer(request, clock)
    try:
        page = await anext(files, None)
        request.setResponseCode(200)
        # restic compares this as a whole: no parameter may follow.
        request.setHeader(b"Content-Type", kind.encode("ascii"))
        request.setHeader(b"Cache-Control", b"no-cache")
        if request.method == b"HEAD":
            return
        before = "["
        while page is not None:
            await producer.ready()
            entries = ",".join([entry(*file) for file in page])
            producer.write(f"{before}{entries}".encode("ascii"))
            before = ","
            page = await anext(files, None)
        producer.write(b"[]" if before == "[" else b"]")
    finally:
        producer.unregister()
        await files.aclose()
