"""Servers for restic: databases, storages and kinds of accounts by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.http.conftest import (
    accounting,
    new_setting,
    server_options,
)
from tests.support.accounting import AccountingDouble
from tests.support.restic import Restic, restic_home
from tests.support.server import ServerProcess
from tests.support.settings import Setting
from tests.support.tools import run_tool
from tests.support.world import LARGE, Server, User, World

__all__ = ["accounting", "server_options"]

SETTINGS = ("postgresql, local", "sqlite, seaweedfs-http")
"""The second with built-in accounts."""


class BuiltInWorld(World):
    """A server whose users its own ledger knows."""

    def user(
        self,
        *,
        quota: int = LARGE,
        traffic: int = LARGE,
        active: bool = True,
        server: Server | None = None,
    ) -> User:
        """Make a new user by the command."""
        name = f"user-{uuid4()}"
        place = ("--psql-dsn", self.setting.dsn, "--quiet")
        ended = run_tool(
            *("user", "add", *place, name),
            *("--quota", str(quota), "--traffic", str(traffic)),
        )
        assert ended.status == 0, ended
        if not active:
            assert run_tool("user", "disable", *place, name).status == 0
        ((user_id,),) = self.query(
            f"SELECT user_id FROM accounts WHERE name = '{name}'"
        )
        return self.user_with(ended.out.strip(), user_id, server or self.server)


@pytest.fixture(scope="session", params=SETTINGS)
def setting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A migrated database of each kind, local storage and S3."""
    return new_setting(request.param, request, tmp_path_factory)


@pytest.fixture(scope="session")
def world(
    setting: Setting, accounting: AccountingDouble, server_options: tuple[str, ...]
) -> Iterator[World]:
    """A running server; tests share it, each with users of its own."""
    kind, options = World, server_options
    if setting.dsn.startswith("sqlite"):
        kind = BuiltInWorld
        options = ("--psql-dsn", setting.dsn, *setting.options, "--accounts", "builtin")
    with ServerProcess(*options, environment=setting.environment) as server:
        yield kind(server, accounting, setting)


@pytest.fixture
def home() -> Iterator[Path]:
    """Where restic keeps its cache, and where the files are that it backs up."""
    with restic_home() as folder:
        yield folder


@pytest.fixture
def repository(home: Path) -> Callable[..., Restic]:
    """Makes users of restic."""

    def new(user: User, name: str = "laptop") -> Restic:
        return Restic(user.server.url, user.token, name, home)

    return new
