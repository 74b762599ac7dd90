"""Runs state machines of hypothesis on a ledger in SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.sqlite import SqliteDatabase


@frozen
class SqliteLedgerFile:
    """A migrated ledger that is open."""

    dsn: str
    database: SqliteDatabase


@asynccontextmanager
async def sqlite_ledger(directory: Path) -> AsyncIterator[SqliteLedgerFile]:
    """Make a ledger in a directory, and close it at the end."""
    path = directory / "ledger.sqlite"
    dsn = f"sqlite:///{path}"
    upgrade(dsn)
    database = SqliteDatabase(reactor, str(path))
    await database.start()
    try:
        yield SqliteLedgerFile(dsn, database)
    finally:
        await database.close()


async def run_state_machine(machine: Any, steps: int) -> None:
    """Run 25 examples of a state machine in a thread, beside the reactor.

    :param machine: returns a new one.
    :param steps: the most that one example has.
    """
    await deferToThread(
        run_state_machine_as_test,
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=steps,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
