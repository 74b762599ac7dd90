"""The real servers that tests run against, each started when first needed."""

from tests.support.postgres import new_postgres_database, own_postgres, postgres_dsn
from tests.support.s3 import moto, seaweedfs, store
from tests.support.valkey import own_valkey, redis_address

__all__ = [
    "moto",
    "new_postgres_database",
    "own_postgres",
    "own_valkey",
    "postgres_dsn",
    "redis_address",
    "seaweedfs",
    "store",
]
