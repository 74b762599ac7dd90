"""How a statement that is written once becomes text for two databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from sqlalchemy import (
    JSON,
    ClauseElement,
    FromClause,
    Table,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Dialect as SqlAlchemyDialect
from sqlalchemy.types import TypeEngine


@frozen
class Statement:
    """One statement, or several that are sent at once and run in this order.

    The result, rows or number of rows touched, is that of the last one.
    Several belong into a transaction.

    :ivar postgres: the text for psycopg2, with parameters as ``%(name)s``.
    :ivar sqlite: the texts for sqlite3, with parameters as ``:name``.
    """

    postgres: str
    sqlite: tuple[str, ...]


@frozen
class Dialect:
    """What SQLAlchemy has no common words for.

    :ivar insert: builds an ``INSERT`` that knows ``ON CONFLICT``.
    """

    insert: Callable[[Table], postgresql.Insert | sqlite.Insert]
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
        compiled = clause.compile(dialect=self._sqlalchemy)
        constants = [name for name, it in compiled.params.items() if it is not None]
        if constants:
            raise ValueError(f"constants in {compiled}: {constants}")
        return str(compiled)


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


_POSTGRES = Dialect(postgresql.insert, psycopg2.dialect(), _postgres_records)
_SQLITE = Dialect(sqlite.insert, pysqlite.dialect(paramstyle="named"), _sqlite_records)

Part = ClauseElement | Callable[[Dialect], ClauseElement]


def statement(*parts: Part) -> Statement:
    """Compile one or several statements for both databases.

    A part is a function if it needs words that differ.
    """

    def texts(dialect: Dialect) -> tuple[str, ...]:
        return tuple(
            dialect.text(part if isinstance(part, ClauseElement) else part(dialect))
            for part in parts
        )

    return Statement("; ".join(texts(_POSTGRES)), texts(_SQLITE))
