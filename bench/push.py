"""How fast many sockets are told, and what an idle one costs.

``python -m bench.push`` starts a server of its own and prints a table.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.support.server import ServerProcess

TOLD = 1_000
IDLE = 5_000
ROUNDS = 5
AT_ONCE = 100


async def _open(url: str, count: int) -> list[ClientConnection]:
    """Open so many sockets, some at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one() -> ClientConnection:
        async with turns:
            return await connect(
                url,
                additional_headers={"Authorization": "Token T"},
                compression=None,
                ping_interval=None,
                open_timeout=60,
            )

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def _close(sockets: list[ClientConnection]) -> None:
    await asyncio.gather(*(socket.close() for socket in sockets))


async def _told(server: ServerProcess, sockets: list[ClientConnection]) -> float:
    """Upload once; return the seconds until the last socket was told."""
    async with httpx.AsyncClient(headers={"Authorization": "Token T"}) as client:
        began = time.monotonic()
        answer = await client.post(f"{server.url}/api/v0/files/p/a", content=b"x")
        assert answer.status_code == 204
        await asyncio.gather(*(socket.recv() for socket in sockets))
        return time.monotonic() - began


async def _measure(server: ServerProcess) -> list[tuple[str, str]]:
    url = server.url.replace("http", "ws", 1) + "/api/v0/websocket/p"
    async with httpx.AsyncClient(headers={"Authorization": "Token T"}) as client:
        await client.post(f"{server.url}/api/v0/files/p/first", content=b"x")
    # What is made only once is made now.
    await _close(await _open(url, AT_ONCE))
    before = server.memory()
    sockets = await _open(url, IDLE)
    each = (server.memory() - before) / IDLE / 1024
    await _close(sockets)
    sockets = await _open(url, TOLD)
    seconds = sorted([await _told(server, sockets) for _ in range(ROUNDS)])
    await _close(sockets)
    return [
        (
            f"{TOLD:,} sockets told of one upload, median",
            f"{seconds[ROUNDS // 2]:.2f} s",
        ),
        (f"{IDLE:,} idle sockets, memory of each", f"{each:.1f} KiB"),
    ]


def main() -> None:
    """Measure and print."""
    wanted = IDLE + 1_000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        with ServerProcess("--standalone", str(home), "--dummy-auth", "T") as server:
            rows = asyncio.run(_measure(server))
    for what, figure in rows:
        sys.stdout.write(f"{what:<45} {figure:>10}\n")


if __name__ == "__main__":
    main()
