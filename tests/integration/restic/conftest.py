"""The servers of the HTTP scenarios, spoken to as restic does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.http.conftest import (
    accounting,
    new_setting,
    server_options,
    world,
)
from tests.integration.restic.client import RepositoryClient
from tests.support.settings import Setting
from tests.support.world import User, World

__all__ = ["accounting", "server_options", "world"]

SETTINGS = ("postgresql, local", "sqlite, local", "postgresql, seaweedfs-https")


@pytest.fixture(scope="session", params=SETTINGS)
def setting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Setting:
    """A migrated database of each kind, local storage and S3."""
    return new_setting(request.param, request, tmp_path_factory)


@pytest.fixture
def user(world: World) -> User:
    """Somebody new."""
    return world.user()


@pytest.fixture
def connect() -> Iterator[Callable[..., RepositoryClient]]:
    """Makes clients of repositories."""
    clients = []

    def new(user: User, name: str = "laptop", create: bool = True) -> RepositoryClient:
        client = RepositoryClient(user.server.url, user.token, name)
        clients.append(client)
        if create:
            assert client.create().status_code == 200
        return client

    yield new
    for client in clients:
        client.close()
