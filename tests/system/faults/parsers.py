"""What has to hold for each parser of what strangers send, whatever they send."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.defer import Deferred

from qabel_block.accounts.accounting_server import read_account
from qabel_block.accounts.cache_entries import EntrySigner, InvalidEntry
from qabel_block.errors import (
    BadRequest,
    PreconditionFailed,
    RangeNotSatisfiable,
    Unavailable,
)
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.transport.trusted_proxies import UNKNOWN, Peer, TrustedProxies
from qabel_block.names import blob_key, parse_blob_key
from qabel_block.push.events import read_path
from qabel_block.rules.conditions import Conditions, if_range_holds
from qabel_block.rules.digests import check_digest, expected_digests
from qabel_block.rules.ranges import select_range
from qabel_block.util.redis.address import parse_redis_url
from tests.unit.http.transport.conversation import Conversation, answer

ETAG = '"01M8AGAD1S24GZ5TWN2S5SAY73"'
SIZE = 1000
ANSWERS = re.compile(rb"HTTP/1\.1 (\d+) ")
PROXIES = TrustedProxies(["192.0.2.0/24", "2001:db8::/32"])


def conditions(data: bytes) -> None:
    """A condition holds or not; no header is an error."""
    text = data.decode("latin-1")
    for parsed in (Conditions.parse(text, None), Conditions.parse(None, text)):
        for etag in (ETAG, None):
            try:
                parsed.check_change(etag)
            except PreconditionFailed:
                continue
    if_range_holds(text, ETAG)


def ranges(data: bytes) -> None:
    """A range is a part of the object, not satisfiable, or ignored."""
    try:
        selected = select_range("bytes=" + data.decode("latin-1"), SIZE)
    except RangeNotSatisfiable:
        return
    if selected is not None:
        assert 0 <= selected.start < selected.start + selected.length <= SIZE


def digests(data: bytes) -> None:
    """A digest is one of 32 bytes, or refused."""
    try:
        found = expected_digests(data.decode("latin-1"), None)
        check_digest(found, "00" * 32)
    except BadRequest:
        return
    assert found <= {"00" * 32}


def keys(data: bytes) -> None:
    """What is a blob's key can be put together again, and leads nowhere else."""
    key = data.decode("latin-1")
    try:
        name, version = parse_blob_key(key)
    except ValueError:
        return
    assert key == (str(name) if version is None else blob_key(name, version))
    assert not {"", ".", ".."} & {*key.split("/")}


def forwarded(data: bytes) -> None:
    """A client has an address, or is a proxy that says nothing believable."""
    client = PROXIES.client(Peer("192.0.2.1", True), data.split(b"\n"))
    assert PROXIES.peer(_Address(client)).address == client != UNKNOWN


def accounts(data: bytes) -> None:
    """What is no account is an accounting server in trouble, and what is no entry of
    the cache is none."""
    with suppress(Unavailable):
        read_account(data)
    with suppress(InvalidEntry):
        EntrySigner("s").read("k", data.decode("latin-1"))
    with suppress(ValueError):
        read_path("p", data.decode("latin-1"))
    with suppress(ValueError):
        parse_redis_url(data.decode("latin-1"))


def requests(data: bytes) -> None:
    """What comes over a connection is answered, refused or waited for."""
    talk = Conversation(_read_all)
    cut = data.find(b"\xff")
    for piece in (data[:cut], data[cut + 1 :]) if cut >= 0 else (data,):
        talk.send(piece)
    talk.end()
    statuses = ANSWERS.findall(talk.received())
    assert {*statuses} <= {b"100", b"204", b"400"}
    talk.leave()


class _Address:
    def __init__(self, host: str) -> None:
        self.host = host


def _read_all(request: StreamingRequest) -> None:
    async def read() -> None:
        while await request.body.read():
            pass
        answer(request)

    Deferred.fromCoroutine(read()).addErrback(lambda failure: None)


PARSERS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "conditions": (conditions, [ETAG.encode(), b'W/"a", "b"', b"*"]),
    "ranges": (ranges, [b"0-9", b"-5", b"5-", b"0-0,2-3"]),
    "digests": (digests, [b"sha-256=:" + b"A" * 43 + b"=:", b"sha-512=:x:;a=b, c"]),
    "keys": (keys, [b"p/a/b~01M8AGAD1S24GZ5TWN2S5SAY73", b"p/a"]),
    "forwarded": (
        forwarded,
        [b"192.0.2.7, [2001:db8::1]:80", b"::ffff:192.0.2.7%eth0"],
    ),
    "accounts": (
        accounts,
        [
            b'{"user_id": 1, "active": true, "block_quota": 2,'
            b' "monthly_traffic_quota": 3, "expires": 4.5}'
        ],
    ),
    "requests": (
        requests,
        [
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na\xffbc",
            b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n\xff0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 1\r\n\r\n",
        ],
    ),
}
