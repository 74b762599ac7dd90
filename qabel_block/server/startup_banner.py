"""What a server that was started on a terminal says there once it listens."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from qabel_block import __version__
from qabel_block.config.config import (
    BuiltinAccounts,
    Config,
    LocalDirectory,
    S3Bucket,
    SqliteLedger,
    TemporaryLedger,
)


def startup_banner(config: Config, urls: Sequence[str]) -> str:
    """Return where the server is, where its data is, and what to do next.

    No secret is in it: what is on a terminal may be in a log as well.

    :param urls: where it listens; sockets without one are left out.
    """
    lines = [("stop it", "Ctrl-C"), ("data", _data(config))]
    if urls:
        lines.append(("try", f"curl -i {urls[0]}/readyz"))
        lines.append(
            (
                "upload",
                'curl -i -H "Authorization: Token $TOKEN" --data-binary @FILE'
                f" {urls[0]}/api/v0/files/PREFIX/NAME",
            )
        )
    if isinstance(config.accounts, BuiltinAccounts):
        lines.append(("add a user", f"qabel-block user add NAME{_ledger(config)}"))
    shown = "".join(f"  {name + ':':<12}{text}\n" for name, text in lines)
    where = " and ".join(urls) or "the sockets below"
    return f"\nqabel-block {__version__} is at {where}\n{shown}\n"


def _data(config: Config) -> str:
    if isinstance(config.ledger, TemporaryLedger):
        return "forgotten at exit"
    if isinstance(config.storage, LocalDirectory):
        objects = str(config.storage.path)
    elif isinstance(config.storage, S3Bucket):
        objects = f"bucket {config.storage.bucket}"
    else:
        objects = "forgotten at exit"
    ledger = "PostgreSQL"
    if isinstance(config.ledger, SqliteLedger):
        ledger = str(config.ledger.path)
    return f"objects in {objects}, ledger in {ledger}"


def _ledger(config: Config) -> str:
    """Return the option that names the ledger, unless there may be a password in
    it."""
    if isinstance(config.ledger, SqliteLedger):
        return " --psql-dsn " + shlex.quote(f"sqlite:///{config.ledger.path}")
    return ""
