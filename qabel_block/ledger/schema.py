"""The ledger's tables, as the newest migration leaves them.

``users``
    who stores something: bytes of all objects and of all noted garbage, and when
    the newest version was made that was ever committed (milliseconds since 1970,
    as the version says).
``prefixes``
    who owns a prefix. Those from before ``created`` was kept have a time stamp
    in the first moments of 1970, in the order in which they were made.
``traffic``
    bytes downloaded from an owner's prefixes in a calendar month (UTC).
``objects``
    which blob an object is.
``garbage``
    blobs that no object points at, or not yet, and since when. ``claimed`` are those
    that somebody deletes. Owner and size are those of the object that a blob was; a
    blob that never was one counts for nobody.

``repositories``
    which prefix holds the files of a restic repository (PROTOCOL section 11).

``accounts``
    the users of built-in accounts (PROTOCOL section 10). One that is erased keeps a
    row without a name, so that the user ID is never given to anybody else.
``tokens``
    the tokens of those users: their SHA-256, never themselves. ``expires`` is in
    seconds since 1970.
``account_changes``
    one row: how often any of these has changed.
``unfinished``
    what the tools have begun, or must do: ``adopt`` as long as there may be blobs
    of the legacy server that are no objects yet.
``installation``
    one row: the id that ledger and storage share, and since when a storage is known
    to have it, if one is.

The first three are the legacy server's (PROTOCOL section 8). The revisions
below ``migrations/`` are what makes the tables; here they are described for the
sake of :mod:`qabel_block.ledger.change_queries`.

Time stamps are the database's own (:attr:`qabel_block.ledger.sql.Dialect.now`), so
that nodes whose clocks differ agree. Months go in as text (``YYYY-MM-01``).
PostgreSQL casts text to either; SQLite, which has no such types, compares it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

TIMESTAMP = DateTime(timezone=True).with_variant(Text(), "sqlite")

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, server_default="0"),
    Column("garbage", BigInteger, nullable=False, server_default="0"),
    Column("latest", BigInteger, nullable=False, server_default="0"),
)

prefixes = Table(
    "prefixes",
    metadata,
    Column("name", String(36), primary_key=True),
    Column("user_id", Integer, nullable=False),
    Column(
        "created",
        TIMESTAMP,
        nullable=False,
        server_default="1970-01-01T00:00:00.000000+00:00",
    ),
    Index("prefixes_by_owner", "user_id", "created"),
)

traffic = Table(
    "traffic",
    metadata,
    Column("user_id", Integer, autoincrement=False),
    Column("traffic_month", Date),
    Column("traffic", BigInteger),
    PrimaryKeyConstraint("user_id", "traffic_month", name="pk_traffic"),
)

objects = Table(
    "objects",
    metadata,
    Column("prefix", String(36), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("blob_key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("sha256", String(64)),
    Column("created", TIMESTAMP, nullable=False),
)

garbage = Table(
    "garbage",
    metadata,
    Column("blob_key", Text, primary_key=True),
    Column("since", TIMESTAMP, nullable=False),
    Column("claimed", Boolean, nullable=False, server_default=false()),
    Column("owner_id", Integer),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Index("garbage_by_age", "since"),
    Index("garbage_by_owner", "owner_id", "since"),
)

repositories = Table(
    "repositories",
    metadata,
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), primary_key=True),
    Column("prefix", String(36), nullable=False),
    Column("created", TIMESTAMP, nullable=False),
    Index("repositories_by_prefix", "prefix", unique=True),
)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64)),
    Column("storage_quota", BigInteger, nullable=False),
    Column("traffic_quota", BigInteger, nullable=False),
    Column("created", TIMESTAMP, nullable=False),
    Column("disabled", TIMESTAMP),
    Column("erased", TIMESTAMP),
    Index("accounts_by_name", "name", unique=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("user_id", Integer, primary_key=True, autoincrement=False),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String(64), nullable=False),
    Column("permission", String(16), nullable=False),
    Column("label", Text, nullable=False),
    Column("created", TIMESTAMP, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", TIMESTAMP),
    Index("tokens_by_sha256", "sha256", unique=True),
)

account_changes = Table(
    "account_changes",
    metadata,
    Column("only_row", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

unfinished = Table(
    "unfinished",
    metadata,
    Column("task", String(36), primary_key=True),
    Column("since", TIMESTAMP, nullable=False),
)

installation = Table(
    "installation",
    metadata,
    Column("only_row", Integer, primary_key=True, autoincrement=False),
    Column("id", String(36), nullable=False),
    Column("confirmed", TIMESTAMP),
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
)
