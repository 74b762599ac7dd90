"""How often a request asks the ledger's database."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from qabel_block.accounts.builtin import FRESH_SECONDS
from qabel_block.accounts.first_user import make_first_user
from qabel_block.accounts.tokens import new_token
from qabel_block.ledger import account_queries, download_queries
from qabel_block.ledger.accounts import AccountTable
from qabel_block.ledger.migrate import upgrade
from qabel_block.ledger.sql import Statement
from qabel_block.ledger.sqlite import SqliteDatabase
from tests.support.memory import MemoryServer, no_threads

REQUESTS = 20


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With built-in accounts a GET asks for the object and for nothing else, once its
    owner is known; some seconds later all of them together ask once whether accounts
    have changed."""
    asked: Counter[Statement] = Counter()
    fetch = SqliteDatabase.fetch

    async def count(self: SqliteDatabase, statement: Statement, **of: object) -> Any:
        asked[statement] += 1
        return await fetch(self, statement, **of)

    monkeypatch.setattr(SqliteDatabase, "fetch", count)
    upgrade(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    home, token = tmp_path / "home", new_token()
    home.mkdir()
    with no_threads():
        server = MemoryServer(home, tmp_path / "empty.sqlite", None)
        server.start()
        table = AccountTable(server.parts.database, server.clock.seconds)
        server.wait(make_first_user(table, "alice", token))
        with httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Token {token}"},
            transport=server.transport(),
        ) as client:
            prefix = client.post("/api/v0/prefix/").json()["prefix"]
            url = f"/api/v0/files/{prefix}/a"
            assert client.post(url, content=b"1").status_code == 204
            assert client.get(url).content == b"1"

            def asked_by_requests() -> Counter[Statement]:
                asked.clear()
                for _ in range(REQUESTS):
                    assert client.get(url).content == b"1"
                return asked

            assert asked_by_requests() == {download_queries.find: REQUESTS}
            server.clock.advance(FRESH_SECONDS)
            version = account_queries.version
            assert asked_by_requests() == {download_queries.find: REQUESTS, version: 1}
        server.stop()
