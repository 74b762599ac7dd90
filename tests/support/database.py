"""A look into a ledger's database behind the server's back."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg2


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Run one query on a database as ``--psql-dsn`` names it."""
    if dsn.startswith("sqlite:///"):
        lite = sqlite3.connect(dsn.removeprefix("sqlite:///"), timeout=30)
        try:
            return lite.execute(sql).fetchall()
        finally:
            lite.close()
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
    finally:
        connection.close()
