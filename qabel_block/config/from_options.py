"""Makes a :class:`~qabel_block.config.config.Config` of options."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from qabel_block.config.command_line import Options
from qabel_block.config.config import (
    AccountingServer,
    BuiltinAccounts,
    Config,
    DummyUser,
    InProcess,
    LocalDirectory,
    MetricsAddress,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
    TemporaryDirectory,
    TemporaryLedger,
)
from qabel_block.config.contradictions import has_builtin_accounts
from qabel_block.config.values import SQLITE
from qabel_block.log.setup import LogConfig
from qabel_block.util.redis.address import RedisAddress


def configure(options: Options) -> Config:
    """Return what these options, already checked, mean."""
    return Config(
        standalone=options["standalone"],
        storage=storage_of(options),
        ledger=ledger_of(options, options.given),
        cache=_cache(options),
        accounts=_accounts(options),
        endpoints=options["listen"] or (_endpoint(options),),
        x_accel_redirect=options["x-accel-redirect"],
        max_body_size=options["max-body-size"],
        garbage_grace=float(options["garbage-grace"]),
        transfers=options["transfers"],
        usage_log=options["dummy-log"],
        metrics=_metrics(options),
        metrics_per_user=options["metrics-per-user"],
        processes=options["processes"],
        max_connections=options["max-connections"],
        max_connections_per_address=options["max-connections-per-address"],
        drain=float(options["drain"]),
        log=_log(options),
        trusted_proxies=options["trusted-proxy"],
        cors_origins=options["cors-origin"],
    )


def storage_of(
    options: Mapping[str, Any],
) -> LocalDirectory | TemporaryDirectory | S3Bucket:
    """Return where blobs are kept."""
    if options["standalone"]:
        return LocalDirectory(options["standalone"] / "objects", options.get("reserve"))
    if options["local-storage"]:
        return LocalDirectory(options["local-storage"], options.get("reserve"))
    if options["dummy"]:
        return TemporaryDirectory()
    return S3Bucket(
        options["s3-bucket"], options["s3-endpoint-url"], options["s3-region"]
    )


def ledger_of(
    options: Mapping[str, Any], given: Container[str]
) -> PostgresLedger | SqliteLedger | TemporaryLedger:
    """Return where the ledger is kept.

    :param given: names of the options that did not keep their default.
    """
    if options["standalone"]:
        return SqliteLedger(options["standalone"] / "ledger.sqlite", migrate=True)
    if options["dummy"] and "psql-dsn" not in given:
        # What forgets its blobs must forget what it knows of them.
        return TemporaryLedger()
    dsn: str = options["psql-dsn"]
    if dsn.startswith(SQLITE):
        return SqliteLedger(Path(dsn.removeprefix(SQLITE)), migrate=False)
    return PostgresLedger(dsn)


def _cache(options: Mapping[str, Any]) -> RedisAddress | InProcess:
    if options["standalone"] or options["dummy-cache"]:
        return InProcess()
    if options["redis-url"]:
        address: RedisAddress = options["redis-url"]
        return address
    return RedisAddress(((options["redis-host"], options["redis-port"]),))


def _accounts(
    options: Options,
) -> AccountingServer | DummyUser | BuiltinAccounts:
    if options["dummy-auth"]:
        return DummyUser(options["dummy-auth"])
    if has_builtin_accounts(options, options.given):
        return BuiltinAccounts(options["first-user"], options["first-token"])
    return AccountingServer(options["accounting-host"], options["apisecret"])


def _endpoint(options: Mapping[str, Any]) -> str:
    address = options["address"].replace(":", r"\:")
    return f"tcp:{options['port']}:interface={address}"


def _metrics(options: Mapping[str, Any]) -> MetricsAddress | None:
    port = options["prometheus-port"]
    return None if port is None else MetricsAddress(options["address"], port)


def _log(options: Options) -> LogConfig:
    return LogConfig(
        level="debug" if options["debug"] else options["logging"],
        file=options["log-file-prefix"],
        max_size=options["log-file-max-size"],
        backups=options["log-file-num-backups"],
        rotate_mode=options["log-rotate-mode"],
        rotate_when=options["log-rotate-when"],
        rotate_interval=options["log-rotate-interval"],
        stderr=options["log-to-stderr"] if "log-to-stderr" in options.given else None,
        dict_config=options["logging-config"],
        explicit=any(name.startswith("log") for name in options.given),
    )
