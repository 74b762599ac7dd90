"""From which address a request comes, and who is believed about it."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from attrs import frozen

from qabel_block.http.transport.trusted_proxies import (
    UNIX,
    UNKNOWN,
    Peer,
    TrustedProxies,
)
from tests.support.server import ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire


@frozen
class Address:
    """As Twisted has it."""

    host: object


TRUSTED = ("192.0.2.1", "10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # nobody is believed who is not named
        ("198.51.100.7", [b"203.0.113.9"], "198.51.100.7"),
        ("192.0.2.2", [b"203.0.113.9"], "192.0.2.2"),
        # one proxy, and what clients make up is on the left
        ("192.0.2.1", [b"203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", [b"1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", [b"10.0.0.1, 203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", [b"1.2.3.4", b"203.0.113.9"], "203.0.113.9"),
        # several proxies
        ("192.0.2.1", [b"203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ("192.0.2.1", [b"6.6.6.6, 203.0.113.9, 10.1.2.3,10.4.5.6"], "203.0.113.9"),
        ("192.0.2.1", [b"10.1.2.3, 10.4.5.6"], "10.1.2.3"),
        # what is no address ends the chain
        ("192.0.2.1", [b"203.0.113.9, unknown"], "192.0.2.1"),
        ("192.0.2.1", [b"203.0.113.9, unknown, 10.1.2.3"], "10.1.2.3"),
        ("192.0.2.1", [b""], "192.0.2.1"),
        ("192.0.2.1", [b", ,"], "192.0.2.1"),
        ("192.0.2.1", [b'"}, \xff\xfe'], "192.0.2.1"),
        ("192.0.2.1", [], "192.0.2.1"),
        # other ways to write an address
        ("192.0.2.1", [b"203.0.113.9:4711"], "203.0.113.9"),
        ("192.0.2.1", [b"[2001:db9::1]:4711"], "2001:db9::1"),
        ("192.0.2.1", [b"2001:DB9:0::0001"], "2001:db9::1"),
        ("192.0.2.1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
        ("192.0.2.1", [b'fe80::1%"}'], "fe80::1"),
        ("::ffff:192.0.2.1", [b"203.0.113.9"], "203.0.113.9"),
        ("2001:db8::5", [b"203.0.113.9"], "203.0.113.9"),
    ],
)
def test_forwarded(peer: str, forwarded: list[bytes], client: str) -> None:
    """The client is the rightmost address that is not one of the proxies that are
    believed."""
    proxies = TrustedProxies(TRUSTED)
    assert proxies.client(proxies.peer(Address(peer)), forwarded) == client


def test_long_chain() -> None:
    """Only so many entries are looked at."""
    proxies = TrustedProxies(TRUSTED)
    peer = proxies.peer(Address("192.0.2.1"))
    entries = [b"203.0.113.9", *[b"10.0.0.1"] * 10_000]
    assert proxies.client(peer, [b",".join(entries)]) == "10.0.0.1"


def test_peers_without_address() -> None:
    """Whoever comes over a socket in the file system is believed if that is asked
    for; a peer whose address can't be understood never."""
    assert TrustedProxies().peer(object()) == Peer(UNIX, False)
    assert TrustedProxies((UNIX,)).peer(object()) == Peer(UNIX, True)
    assert TrustedProxies(("0.0.0.0/0",)).peer(Address('"}')) == Peer(UNKNOWN, False)


def _options(tmp_path: Path, *options: str) -> tuple[str, ...]:
    home = str(tmp_path / "home")
    return ("--standalone", home, "--dummy-auth", "T", *options)


def _client(server: ServerProcess, connection: socket.socket, **headers: str) -> str:
    """Ask over a connection; return the address that is logged."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["GET /healthz HTTP/1.1", "Host: x", *lines, "", ""])
    connection.settimeout(60)
    connection.sendall(head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    match = re.search(rb"X-Request-Id: (\w+)", answer, re.IGNORECASE)
    assert match is not None
    request_id = match[1].decode()
    wait_for(lambda: request_id in server.log())
    (line,) = [one for one in server.records() if one.get("request") == request_id]
    return str(line["client"])


def test_nobody_is_believed_by_default(tmp_path: Path) -> None:
    """Without ``--trusted-proxy`` the header means nothing."""
    with (
        ServerProcess(*_options(tmp_path)) as server,
        Wire(server.port) as wire,
    ):
        spoofed = _client(server, wire.socket, X_Forwarded_For="203.0.113.9")
    assert spoofed == "127.0.0.1"


def test_named_proxy(tmp_path: Path) -> None:
    """A proxy that is named is believed on each request of its connection."""
    options = _options(
        tmp_path, "--trusted-proxy", "192.0.2.1", "--trusted-proxy", "127.0.0.0/8"
    )
    with ServerProcess(*options) as server, Wire(server.port) as wire:
        for client in ("203.0.113.9", "203.0.113.10"):
            forwarded = f"6.6.6.6, {client}"
            assert _client(server, wire.socket, X_Forwarded_For=forwarded) == client
        assert _client(server, wire.socket) == "127.0.0.1"


def test_from_the_environment(tmp_path: Path) -> None:
    """In the environment, spaces separate proxies."""
    environment = {"QABEL_BLOCK_TRUSTED_PROXY": "192.0.2.1 127.0.0.1"}
    with (
        ServerProcess(*_options(tmp_path), environment=environment) as server,
        Wire(server.port) as wire,
    ):
        assert _client(server, wire.socket, X_Forwarded_For="1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("trusted", "expected"), [((), "192.0.2.7"), (("192.0.2.7",), "203.0.113.9")]
)
def test_proxy_protocol(
    tmp_path: Path, trusted: tuple[str, ...], expected: str
) -> None:
    """With the PROXY protocol the address is the one that it names, and that one is
    believed only if it is named itself."""
    listen = ("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    believed = [part for one in trusted for part in ("--trusted-proxy", one)]
    with (
        ServerProcess(*_options(tmp_path, *listen, *believed)) as server,
        Wire(server.port) as wire,
    ):
        wire.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 55 44\r\n")
        client = _client(server, wire.socket, X_Forwarded_For="203.0.113.9")
    assert client == expected


def test_proxy_protocol_with_nonsense(tmp_path: Path) -> None:
    """What the PROXY protocol says gets into the log only if it is an address."""
    listen = ("--listen", "haproxy:tcp:0:interface=127.0.0.1")
    with (
        ServerProcess(*_options(tmp_path, *listen)) as server,
        Wire(server.port) as wire,
    ):
        wire.send(b'PROXY TCP4 "},x 192.0.2.1 55 44\r\n')
        assert _client(server, wire.socket) == "unknown"


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [((), "unix"), (("--trusted-proxy", "unix"), "203.0.113.9")],
)
def test_unix_socket(tmp_path: Path, trusted: tuple[str, ...], expected: str) -> None:
    """Whoever connects to a socket in the file system is believed if that is asked
    for."""
    path = tmp_path / "socket"
    listen = ("--listen", f"unix:{path}", "--listen", "tcp:0:interface=127.0.0.1")
    with (
        ServerProcess(*_options(tmp_path, *listen, *trusted)) as server,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(str(path))
        client = _client(server, connection, X_Forwarded_For="203.0.113.9")
    assert client == expected


@pytest.mark.parametrize("path", [False, True])
def test_failing_tokens_of_clients_of_local_proxies(tmp_path: Path, path: bool) -> None:
    """Whoever is on this machine need not be named to be believed for whom a token
    failed; without a client that it names, its tokens are not counted."""
    socket_path = tmp_path / "socket"
    listen = (
        "--listen",
        f"unix:{socket_path}",
        "--listen",
        "tcp:0:interface=127.0.0.1",
    )
    uds = str(socket_path) if path else None
    with (
        ServerProcess(*_options(tmp_path, *listen)) as server,
        httpx.Client(
            transport=httpx.HTTPTransport(uds=uds), base_url=server.url
        ) as client,
    ):

        def ask(forwarded: str | None) -> int:
            headers = {"Authorization": f"Token {uuid4().hex}"}
            if forwarded is not None:
                headers["X-Forwarded-For"] = forwarded
            return client.get("/api/v0/quota/", headers=headers).status_code

        named = [ask("203.0.113.9") for _ in range(31)]
        assert named == [403] * 30 + [429]
        # One local proxy behind another, and what the client has made up.
        assert ask("192.0.2.1, 203.0.113.9, 127.0.0.1") == 429
        assert ask("203.0.113.9, 192.0.2.1") == 403
        assert {ask(None) for _ in range(31)} == {403}
        assert {ask("127.0.0.1") for _ in range(31)} == {403}
