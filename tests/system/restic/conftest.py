"""Servers for restic: the databases and storages by turns, and who knows the users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.http.conftest import (
    accounting,
    new_setting,
    server_options,
    world,
)
from tests.support.restic import Restic, restic_home
from tests.support.settings import Setting
from tests.support.world import User

__all__ = ["accounting", "server_options", "world"]

SETTINGS = ("postgresql, local", "sqlite, seaweedfs-http")


@pytest.fixture(scope="session", params=SETTINGS)
def setting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A migrated database of each kind, local storage and S3."""
    return new_setting(request.param, request, tmp_path_factory)


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
