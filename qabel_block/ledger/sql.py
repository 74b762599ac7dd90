"""SQL text for two databases from statements that are written once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import cached_property
from hashlib import sha256
from typing import Any

from attrs import frozen
from sqlalchemy import (
    JSON,
    ClauseElement,
    ColumnElement,
    FromClause,
    Table,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Dialect as SqlAlchemyDialect
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import NullType, TypeEngine

_PARAMETER = re.compile(r"%\((\w+)\)s")


ZERO: ColumnElement[int] = literal_column("0")
ONE: ColumnElement[int] = literal_column("1")


@frozen
class Prepared:
    """A statement that PostgreSQL parses once for each connection, and plans at
    most a few times.

    :ivar name: the same for the same statement.
    :ivar prepare: the text that makes it known.
    :ivar execute: the text that runs it, for psycopg2.
    """

    name: str
    prepare: str
    execute: str


@frozen
class Dialect:
    """What SQLAlchemy has no common words for.

    :ivar insert: builds an ``INSERT`` that knows ``ON CONFLICT``.
    :ivar now: the time stamp of the transaction, by the database's clock.
    :ivar clock: the present time stamp, by the same clock.
    :ivar ago: for seconds the time stamp of so long ago, by the same clock.
    :ivar locks_rows: whether a transaction locks rows, rather than all of the
        database.
    :ivar has_table: for a name of ours whether there is such a table.
    """

    insert: Callable[[Table], postgresql.Insert | sqlite.Insert]
    now: ColumnElement[Any]
    clock: ColumnElement[Any]
    ago: Callable[[ColumnElement[float]], ColumnElement[Any]]
    locks_rows: bool
    has_table: Callable[[str], ColumnElement[bool]]
    _sqlalchemy: SqlAlchemyDialect
    _records: Callable[[str, dict[str, TypeEngine[Any]]], FromClause]

    def records(self, parameter: str, **columns: TypeEngine[Any]) -> FromClause:
        """Return a table that is passed as one parameter.

        It is a JSON array of objects, so that any number of rows takes one
        statement of constant text.
        """
        return self._records(parameter, columns)

    def text(self, clause: ClauseElement) -> str:
        """Return ``clause`` in this dialect.

        :raises ValueError: if it holds a constant that is to be passed beside
            the text: only parameters with a name are.
        """
        return str(self._compiled(clause))

    def prepared(self, clause: ClauseElement) -> Prepared:
        """Return ``clause`` as a prepared statement.

        :raises ValueError: as :meth:`text`.
        """
        compiled: Any = self._compiled(clause)
        names = list(dict.fromkeys(_PARAMETER.findall(str(compiled))))
        types = [self._type(compiled.binds[name].type) for name in names]
        body = _PARAMETER.sub(lambda it: f"${names.index(it[1]) + 1}", str(compiled))
        body = body.replace("%%", "%")
        declared = f"({', '.join(types)})" if types else ""
        given = f"({', '.join(f'%({name})s' for name in names)})" if names else ""
        name = f"q{sha256((declared + body).encode()).hexdigest()[:16]}"
        return Prepared(
            name, f"PREPARE {name}{declared} AS {body}", f"EXECUTE {name}{given}"
        )

    def _compiled(self, clause: ClauseElement) -> Any:
        compiled = clause.compile(dialect=self._sqlalchemy)
        constants = [name for name, it in compiled.params.items() if it is not None]
        if constants:
            raise ValueError(f"constants in {compiled}: {constants}")
        return compiled

    def _type(self, type_: TypeEngine[Any]) -> str:
        if isinstance(type_, NullType):
            return "unknown"  # PostgreSQL sees what it is
        return type_.compile(self._sqlalchemy)


def _postgres_records(
    parameter: str, columns: dict[str, TypeEngine[Any]]
) -> FromClause:
    rows = func.json_to_recordset(cast(bindparam(parameter), JSON))
    return rows.table_valued(
        *(column(name, type_) for name, type_ in columns.items())
    ).render_derived(with_types=True)


def _sqlite_records(parameter: str, columns: dict[str, TypeEngine[Any]]) -> FromClause:
    each = func.json_each(bindparam(parameter)).table_valued("value")
    return select(
        *(
            func.json_extract(each.c.value, literal_column(f"'$.{name}'")).label(name)
            for name in columns
        )
    ).subquery()


def _postgres_ago(seconds: ColumnElement[float]) -> ColumnElement[Any]:
    return func.now() - func.make_interval(*[ZERO] * 6, seconds)


def _sqlite_ago(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return Function(SQLITE_AGO, seconds)


def _postgres_has_table(name: str) -> ColumnElement[bool]:
    return func.to_regclass(literal_column(f"'{name}'")).is_not(None)


def _sqlite_has_table(name: str) -> ColumnElement[bool]:
    all_ = table("sqlite_master", column("name"))
    return exists().where(all_.c.name == literal_column(f"'{name}'"))


SQLITE_AGO = "time_stamp_ago"
"""A function that each connection to SQLite must have: :func:`time_stamp_ago`."""

_POSTGRES = Dialect(
    postgresql.insert,
    func.now(),
    func.clock_timestamp(),
    _postgres_ago,
    True,
    _postgres_has_table,
    psycopg2.dialect(),
    _postgres_records,
)
_SQLITE = Dialect(
    sqlite.insert,
    _sqlite_ago(ZERO),
    _sqlite_ago(ZERO),
    _sqlite_ago,
    False,
    _sqlite_has_table,
    pysqlite.dialect(paramstyle="named"),
    _sqlite_records,
)

Part = ClauseElement | Callable[[Dialect], ClauseElement | None]
"""A function if the databases need different words; one that a database has no need
of returns ``None``."""


class Statement:
    """One statement, or several that are sent at once and run in this order.

    The result, rows or number of rows touched, is that of the last one.
    Several belong into a transaction. Each form is compiled once, when it is first
    asked for.

    :ivar postgres: the text for psycopg2, with parameters as ``%(name)s``.
    :ivar sqlite: the texts for sqlite3, with parameters as ``:name``.
    :ivar prepared: what ``postgres`` is made of, to be prepared.
    :raises ValueError: when it is compiled, as :meth:`Dialect.text`.
    """

    def __init__(self, *parts: Part) -> None:
        self._parts = parts

    @cached_property
    def postgres(self) -> str:
        return "; ".join(map(_POSTGRES.text, self._clauses(_POSTGRES)))

    @cached_property
    def sqlite(self) -> tuple[str, ...]:
        return tuple(map(_SQLITE.text, self._clauses(_SQLITE)))

    @cached_property
    def prepared(self) -> tuple[Prepared, ...]:
        return tuple(map(_POSTGRES.prepared, self._clauses(_POSTGRES)))

    def _clauses(self, dialect: Dialect) -> list[ClauseElement]:
        made = (
            part if isinstance(part, ClauseElement) else part(dialect)
            for part in self._parts
        )
        return [clause for clause in made if clause is not None]


class RawStatement(Statement):
    """Text that is sent as it is, and not prepared."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.postgres, self.sqlite, self.prepared = text, (text,), ()


def time_stamp_ago(seconds: float) -> str:
    """Return a time stamp, by this machine's clock, in a form that sorts as text."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds")
