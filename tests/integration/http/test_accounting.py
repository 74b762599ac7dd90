"""The scenarios of the accounting server over TCP, and those with processes."""

from collections.abc import Callable
from pathlib import Path

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.scenarios.accounting import *  # noqa: F403
from tests.scenarios.accounting import check_unknown_tokens
from tests.support.accounting import AccountingDouble
from tests.support.server import ServerProcess
from tests.support.settings import Setting, StoredFiles
from tests.support.world import World


def test_no_accounting_server_at_all() -> None:
    """Nobody listens there: the server starts, is ready but for new users, and
    answers 503."""
    options = ("--dummy", "--dummy-cache", "--accounting-host", "http://127.0.0.1:9")
    with ServerProcess(*options) as server:
        client = httpx.Client(base_url=server.url, timeout=60)
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["degraded"].keys() == {"accounts"}
        headers = {"Authorization": "Token x"}
        answer = client.get("/api/v0/quota/", headers=headers)
        assert answer.status_code == 503


def test_unknown_tokens_of_all_processes(
    redis_address: tuple[str, int],
    new_postgres_database: Callable[[], str],
    tmp_path: Path,
) -> None:
    """As many unknown tokens are answered in a minute by all processes together as by
    one, behind a proxy that is trusted as well."""
    (host, port), dsn = redis_address, new_postgres_database()
    upgrade(dsn)
    with AccountingDouble() as accounting:
        options = (
            *("--psql-dsn", dsn, "--local-storage", str(tmp_path)),
            *("--redis-host", host, "--redis-port", str(port)),
            *("--accounting-host", accounting.url, "--apisecret", accounting.secret),
            *("--trusted-proxy", "127.0.0.1", "--processes", "2", "--log-to-stderr"),
        )
        with ServerProcess(*options) as server:
            setting = Setting(dsn, (), {}, StoredFiles(tmp_path))
            check_unknown_tokens(World(server, accounting, setting))
