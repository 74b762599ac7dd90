"""Reads where ledger and storage are, as the server reads it: the same options, the
same environment variables, the same mistakes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from qabel_block.config.config import (
    LocalDirectory,
    PostgresLedger,
    S3Bucket,
    SqliteLedger,
    TemporaryDirectory,
    TemporaryLedger,
)
from qabel_block.config.contradictions import check_locations
from qabel_block.config.environment import (
    given_in_environment,
    refuse_unknown_variables,
)
from qabel_block.config.from_options import ledger_of, storage_of
from qabel_block.config.option import Given
from qabel_block.config.options import BY_NAME

LEDGER_OPTIONS = ("standalone", "psql-dsn")
"""The server's options of commands that use the ledger alone."""

STORAGE_OPTIONS = (
    "local-storage",
    "s3-bucket",
    "s3-endpoint-url",
    "s3-region",
    "transfers",
)
"""The server's options of commands that use the storage."""

PLACES = (*LEDGER_OPTIONS, *STORAGE_OPTIONS)

GRACE = "garbage-grace"

TYPED = "server_"
"""What the names of parsed arguments begin with that are options of the server."""


@frozen
class DataLocations:
    """Where ledger and storage are.

    :ivar transfers: storage operations that run in threads at a time.
    :ivar garbage_grace: seconds for which the server keeps garbage.
    """

    ledger: PostgresLedger | SqliteLedger
    storage: LocalDirectory | S3Bucket
    transfers: int
    garbage_grace: int


def read_locations(
    arguments: Namespace, options: tuple[str, ...], environment: Mapping[str, str]
) -> DataLocations:
    """Return where ledger and storage are.

    :param options: names of the server's options that the command has.
    :raises UsageError: if an option's value is wrong.
    """
    values: dict[str, Any] = {"dummy": False}
    given: dict[str, str] = {}
    refuse_unknown_variables(environment)
    for name in (*PLACES, GRACE):
        option, found = BY_NAME[name], None
        typed = getattr(arguments, TYPED + name, None)
        if typed is not None:
            found = Given(option.flag, [typed])
        elif name in options:
            found = given_in_environment(option, environment)
        if found is None:
            values[name] = option.value_by_default()
        else:
            given[name] = found.source
            values[name] = option.value_of(found)
    check_locations(values, given)
    storage, ledger = storage_of(values), ledger_of(values, given)
    assert not isinstance(storage, TemporaryDirectory)
    assert not isinstance(ledger, TemporaryLedger)
    return DataLocations(ledger, storage, values["transfers"], values["garbage-grace"])
