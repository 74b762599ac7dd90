"""What the operator has chosen, as values. Secrets don't show in their repr."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from qabel_block.log.setup import LogConfig
from qabel_block.util.redis.address import RedisAddress


@frozen
class LocalDirectory:
    """Blobs are files below a directory.

    :ivar reserve: bytes of its disk that uploads leave free; ``None`` for the default.
    """

    path: Path
    reserve: int | None = None


@frozen
class TemporaryDirectory:
    """Blobs are forgotten at exit."""


@frozen
class S3Bucket:
    """Blobs are in a bucket.

    :ivar endpoint_url: of a store other than AWS.
    """

    bucket: str
    endpoint_url: str | None
    region: str | None


@frozen
class PostgresLedger:
    """The ledger is a PostgreSQL database, named by a libpq DSN or URL."""

    dsn: str = field(repr=False)


@frozen
class SqliteLedger:
    """The ledger is a file.

    :ivar migrate: whether the server upgrades its schema itself.
    """

    path: Path
    migrate: bool


@frozen
class TemporaryLedger:
    """The ledger is forgotten at exit, together with the blobs."""


@frozen
class InProcess:
    """Cache and push stay within this process."""


@frozen
class AccountingServer:
    """Users are known to an accounting server."""

    url: str
    secret: str = field(repr=False)


@frozen
class DummyUser:
    """There is one user, with one token."""

    token: str = field(repr=False)


@frozen
class BuiltinAccounts:
    """Users are in the ledger.

    :ivar first_user: the name of the user that is made if there is none.
    :ivar first_token: that user's token.
    """

    first_user: str | None = None
    first_token: str | None = field(default=None, repr=False)


@frozen
class MetricsAddress:
    """Where metrics are served.

    :ivar host: a name or an address.
    """

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        """A description of it as Twisted understands it."""
        host = self.host.replace(":", r"\:")
        return f"tcp:{self.port}:interface={host}"


@frozen
class Config:
    """Everything that the composition root needs to know.

    :ivar endpoints: descriptions of Twisted server endpoints.
    :ivar x_accel_redirect: beginning, without a slash at its end, of the URIs
        under which nginx has the files of local storage; ``None`` to send them
        here.
    :ivar max_body_size: bytes.
    :ivar garbage_grace: seconds for which garbage stays in storage.
    :ivar transfers: storage operations that run in threads at a time.
    :ivar usage_log: whether to print usage events.
    :ivar metrics: where to serve metrics, if anywhere.
    :ivar metrics_per_user: whether single users are among them.
    :ivar processes: how many of them serve; with one, that is this one.
    :ivar max_connections: that one process serves at a time; 0 is any number.
    :ivar max_connections_per_address: of them from one address; 0 is any number.
    :ivar trusted_proxies: addresses and networks of those that are believed for
        whom they speak, and ``unix``.
    :ivar cors_origins: of web pages that browsers let use the server; ``*`` for any.
    :ivar standalone: the directory of a server that is all there is, if it is one.
    :ivar drain: seconds for which requests under way may go on at the end.
    """

    storage: LocalDirectory | TemporaryDirectory | S3Bucket
    ledger: PostgresLedger | SqliteLedger | TemporaryLedger
    cache: RedisAddress | InProcess
    accounts: AccountingServer | DummyUser | BuiltinAccounts
    endpoints: tuple[str, ...]
    x_accel_redirect: str | None = None
    max_body_size: int = 2_147_483_648
    garbage_grace: float = 3600.0
    transfers: int = 10
    usage_log: bool = False
    metrics: MetricsAddress | None = None
    metrics_per_user: bool = False
    processes: int = 1
    max_connections: int = 10_000
    max_connections_per_address: int = 1_000
    drain: float = 30.0
    log: LogConfig = field(factory=LogConfig)
    trusted_proxies: tuple[str, ...] = ()
    standalone: Path | None = None
    cors_origins: tuple[str, ...] = ()
