"""Refuses options that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.python.usage import UsageError

from qabel_block.config.values import SQLITE

OPTIONS_OF_S3 = ("s3-bucket", "s3-endpoint-url", "s3-region")
_OTHER_ACCOUNTS = ("accounting-host", "dummy-auth")
_NOT_STANDALONE = ("psql-dsn", "redis-host", "redis-port", "redis-url")


def check_locations(values: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse two locations for the objects, the ledger or the cache.

    :param given: where those that did not keep their default come from, by name.
    :raises UsageError: if there are two.
    """
    storages = [n for n in ("standalone", "local-storage", "dummy") if values[n]]
    storages += [name for name in OPTIONS_OF_S3 if name in given][:1]
    if len(storages) > 1:
        _contradict(given, storages[0], storages[1])
    if values["standalone"]:
        for name in _NOT_STANDALONE:
            if name in given:
                _contradict(given, "standalone", name)


def check_combinations(values: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse options of the server that exclude each other.

    :param given: where those that did not keep their default come from, by name.
    :raises UsageError: if there are any.
    """
    check_locations(values, given)
    for name in ("redis-host", "redis-port"):
        if "redis-url" in given and name in given:
            _contradict(given, "redis-url", name)
    _check_accounts(values, given)
    local = values["standalone"] or values["local-storage"]
    if values["x-accel-redirect"] and not local:
        raise UsageError(f"{given['x-accel-redirect']} needs --local-storage")
    if values["processes"] > 1:
        _check_processes(values, given)


def has_builtin_accounts(values: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    """Say whether users are in the ledger.

    With ``--standalone`` they are, unless something says who else knows them.
    """
    if values["accounts"] is not None:
        return bool(values["accounts"] == "builtin")
    chosen = any(name in given for name in _OTHER_ACCOUNTS)
    return bool(values["standalone"]) and not chosen


def _check_accounts(values: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse what does not belong to the accounts that are chosen."""
    if values["accounts"] == "builtin":
        for name in _OTHER_ACCOUNTS:
            if name in given:
                raise UsageError(
                    f"{given['accounts']} builtin and {given[name]} exclude each other"
                )
    first = ("first-user", "first-token")
    for name, other in (first, first[::-1]):
        if name in given and other not in given:
            raise UsageError(f"{given[name]} needs --{other}")
    if "first-user" in given and not has_builtin_accounts(values, given):
        raise UsageError(f"{given['first-user']} needs --accounts builtin")


def _check_processes(values: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Refuse what several processes can't share."""
    for name in ("standalone", "dummy", "dummy-cache"):
        if values[name]:
            _contradict(given, "processes", name)
    processes = given["processes"]
    if values["psql-dsn"].startswith(SQLITE):
        raise UsageError(
            f"{processes}: {given['psql-dsn']} names SQLite, for one process"
        )
    if values["logging"] == "none":
        raise UsageError(f"{processes}: not with {given['logging']} none")


def _contradict(given: Mapping[str, str], one: str, other: str) -> None:
    raise UsageError(f"{given[one]} and {given[other]} exclude each other")
