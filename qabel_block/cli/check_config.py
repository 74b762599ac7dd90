"""``qabel-block check-config``: the server's options, without starting it."""

from __future__ import annotations

from collections.abc import Iterator

from qabel_block.cli.commands import Implementation
from qabel_block.cli.context import CommandContext
from qabel_block.cli.runner import ALL_WELL
from qabel_block.cli.server_config import server_config
from qabel_block.config.config import (
    AccountingServer,
    BuiltinAccounts,
    Config,
    InProcess,
    LocalDirectory,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
)
from qabel_block.config.options import BY_NAME


async def check_config(context: CommandContext) -> int:
    """Say where the server would listen, and what it would use.

    :raises CommandFailed: if it would refuse its options.
    """
    config = server_config(context.arguments)
    for name, value in _described(config):
        context.report.say(
            "setting", f"{name + ':':<11}{value}", name=name, value=value
        )
    return ALL_WELL


def _described(config: Config) -> Iterator[tuple[str, str]]:
    """Return what an operator wants to know, and no secret."""
    yield "listen", ", ".join(config.endpoints)
    yield "database", _ledger(config)
    yield "storage", _storage(config)
    yield "cache", cache_kind(config)
    yield "accounts", accounts_kind(config)
    yield "processes", str(config.processes)


def _ledger(config: Config) -> str:
    if isinstance(config.ledger, PostgresLedger):
        return "PostgreSQL"
    if isinstance(config.ledger, SqliteLedger):
        return f"SQLite, {config.ledger.path}"
    return "temporary"


def _storage(config: Config) -> str:
    if isinstance(config.storage, LocalDirectory):
        return f"directory {config.storage.path}"
    if isinstance(config.storage, S3Bucket):
        return f"bucket {config.storage.bucket}"
    return "temporary"


def cache_kind(config: Config) -> str:
    """Say what cache and push are."""
    return "in process" if isinstance(config.cache, InProcess) else "Redis"


def accounts_kind(config: Config) -> str:
    """Say who knows the users."""
    if isinstance(config.accounts, AccountingServer):
        return "accounting server"
    if isinstance(config.accounts, BuiltinAccounts):
        return "built in"
    return "one token (--dummy-auth)"


COMMANDS = {"check-config": Implementation(check_config, tuple(BY_NAME))}
