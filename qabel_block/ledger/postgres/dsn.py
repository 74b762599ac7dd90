"""What an operator writes to name a database (PROTOCOL section 6, ``--psql-dsn``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from qabel_block.errors import Unavailable

_SQLITE = "sqlite://"


def sqlite_file(dsn: str) -> str | None:
    """Return the path that ``sqlite:///FILE`` names, ``None`` for other DSNs.

    ``FILE`` is taken as it is; an absolute one begins with a fourth slash.

    :raises ValueError: if it names no file.
    """
    if not dsn.startswith(_SQLITE):
        return None
    slash, path = dsn[len(_SQLITE) :][:1], dsn[len(_SQLITE) + 1 :]
    if slash != "/" or not path:
        raise ValueError("a SQLite database is written sqlite:///FILE")
    return path


def postgres_parameters(dsn: str) -> dict[str, str]:
    """Take a libpq connection string or URL apart into libpq's parameters.

    :raises ValueError: if libpq can't; the message does not repeat it.
    """
    try:
        parameters: dict[str, str] = parse_dsn(dsn)
    except psycopg2.Error:
        raise ValueError(
            "not a libpq connection string or URL such as"
            " postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from None
    for port in parameters.get("port", "").split(","):
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{port} is not a port")
    return parameters


def connect(dsn: str) -> Any:
    """Return a connection that blocks, for migrations.

    :raises psycopg2.Error: if there can be none.
    """
    return psycopg2.connect(dsn)


async def with_addresses(
    reactor: IReactorPluggableNameResolver, parameters: dict[str, str]
) -> dict[str, str]:
    """Look up the hosts in ``parameters`` and put their addresses beside them.

    libpq would look them up itself, and block the reactor until it has. Every
    address of every host is kept, in the order in which libpq would try them.

    :raises Unavailable: if no host has an address.
    """
    if "host" not in parameters or "hostaddr" in parameters:
        return parameters
    hosts = parameters["host"].split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return parameters  # libpq has the words for this mistake
    entries = [
        (host, address, port)
        for host, port in zip(hosts, ports, strict=True)
        for address in (
            [""] if not host or host[0] in "/@" else await _addresses(reactor, host)
        )
    ]
    if not entries:
        raise Unavailable("database", "its host name can't be resolved")
    names, addresses, numbers = (",".join(part) for part in zip(*entries, strict=True))
    resolved = {**parameters, "host": names, "port": numbers}
    return (
        {**resolved, "hostaddr": addresses} if any(addresses.split(",")) else resolved
    )


async def _addresses(
    reactor: IReactorPluggableNameResolver, host: str
) -> Sequence[str]:
    receiver = _Addresses()
    reactor.nameResolver.resolveHostName(receiver, host)
    return await receiver.complete


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects what the resolver finds."""

    def __init__(self) -> None:
        self.complete: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803
        """Nothing is to be done before the first address."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep an address."""
        found: Any = address
        if found.host not in self._found:
            self._found.append(found.host)

    def resolutionComplete(self) -> None:
        """Hand over what was found."""
        self.complete.callback(self._found)
