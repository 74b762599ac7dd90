"""What the legacy server leaves behind (PROTOCOL section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from attrs import frozen

from qabel_block.names import IDENTITY
from tests.integration.ledger.support import change
from tests.support.s3 import Bucket

LEGACY = "aa3320db4c7f"
"""The last revision of its schema."""

_FIRST_OF_MONTH = {
    "postgresql": "date_trunc('month', traffic_month) = traffic_month",
    "sqlite": "date(traffic_month, 'start of month') = traffic_month",
}


def make_legacy_tables(dsn: str) -> None:
    """Build the legacy schema, without Alembic's help."""
    kind = "sqlite" if dsn.startswith("sqlite") else "postgresql"
    key = {"postgresql": "", "sqlite": " NOT NULL"}[kind]
    change(
        dsn,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
        " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
        f"INSERT INTO alembic_version VALUES ('{LEGACY}')",
        f"CREATE TABLE users (user_id INTEGER{key} PRIMARY KEY, size BIGINT DEFAULT 0)",
        "CREATE TABLE prefixes"
        f" (name VARCHAR(36){key} PRIMARY KEY, user_id INTEGER NOT NULL)",
        "CREATE TABLE traffic"
        f" (user_id INTEGER{key}, traffic_month DATE{key}, traffic BIGINT,"
        " CONSTRAINT pk_traffic PRIMARY KEY (user_id, traffic_month),"
        f" CONSTRAINT traffic_month_constraint CHECK ({_FIRST_OF_MONTH[kind]}))",
    )


class LegacyStorage(Protocol):
    """Where the legacy server keeps objects; seen behind our server's back."""

    @property
    def options(self) -> tuple[str, ...]:
        """The options with which our server uses it."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that our server needs for it."""

    def put(self, key: str, content: bytes) -> None:
        """Store an object as the legacy server does."""

    def remove(self, key: str) -> None:
        """Remove an object."""

    def etag(self, key: str) -> str:
        """Return the ETag that the legacy server gave an object, with quotes."""

    def contents(self) -> dict[str, bytes]:
        """Return all that is stored by what it is stored as, but the identity."""


@frozen
class LegacyDirectory:
    """A directory."""

    root: Path

    @property
    def options(self) -> tuple[str, ...]:
        return ("--local-storage", str(self.root))

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def put(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()

    def etag(self, key: str) -> str:
        return f'"{(self.root / key).stat().st_mtime_ns}"'

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            for file in files
            if file.name != IDENTITY
        }


@frozen
class LegacyBucket:
    """A bucket."""

    bucket: Bucket

    @property
    def options(self) -> tuple[str, ...]:
        return self.bucket.options()

    @property
    def environment(self) -> dict[str, str]:
        return self.bucket.store.environment

    def put(self, key: str, content: bytes) -> None:
        self.bucket.client.put_object(Bucket=self.bucket.name, Key=key, Body=content)

    def remove(self, key: str) -> None:
        self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)

    def etag(self, key: str) -> str:
        answer = self.bucket.client.head_object(Bucket=self.bucket.name, Key=key)
        return str(answer["ETag"])

    def contents(self) -> dict[str, bytes]:
        get = self.bucket.client.get_object
        return {
            key: get(Bucket=self.bucket.name, Key=key)["Body"].read()
            for key in self.bucket.keys("")
            if key != IDENTITY
        }


def fill(
    dsn: str,
    storage: LegacyStorage,
    users: Mapping[int, Mapping[str, Mapping[str, bytes]]],
) -> None:
    """Store objects as the legacy server had them.

    :param users: for each user the prefixes, for each of them the paths.
    """
    for user_id, prefixes in users.items():
        for prefix, objects in prefixes.items():
            change(dsn, f"INSERT INTO prefixes VALUES ('{prefix}', {user_id})")
            for path, content in objects.items():
                storage.put(f"{prefix}/{path}", content)
