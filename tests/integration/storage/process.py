"""Another process with a local storage of its own, for tests.

Run as ``python -m tests.integration.storage.process COMMAND DIRECTORY PREFIX``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from qabel_block.storage.local.storage import LocalStorage
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.support.checkout import CHECKOUT

ROUNDS = 150


def other_process(command: str, root: Path, prefix: str) -> subprocess.Popen[bytes]:
    """Start another process at work on the directory."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.integration.storage.process",
            command,
            str(root),
            prefix,
        ],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )


async def _stop_half_way(storage: LocalStorage, prefix: str) -> None:
    """Begin a blob, say so, and never end it."""
    writer = await storage.create(new_key("half", prefix))
    await writer.write(pattern(1_000_000))
    print("begun", flush=True)
    await Deferred()


async def _come_and_go(storage: LocalStorage, prefix: str) -> None:
    print("begun", flush=True)
    await come_and_go(storage, prefix)


async def come_and_go(storage: LocalStorage, prefix: str) -> None:
    """Store blobs and delete them at once, which makes and removes folders."""
    for number in range(ROUNDS):
        key = new_key("a/b/c", prefix)
        content = pattern(70_000 if number % 2 else 10, number)
        await write(storage, key, content)
        assert await read(storage, key, 0, len(content)) == content
        await storage.delete([key])


def _main(reactor: Any, command: str, root: str, prefix: str) -> Deferred[None]:
    async def work() -> None:
        threads = ThreadPool(reactor, 4, "other")
        threads.start()
        reactor.addSystemEventTrigger("before", "shutdown", threads.stop)
        storage = LocalStorage(root, threads)
        await storage.bind(INSTALLATION)
        await {"half": _stop_half_way, "come-and-go": _come_and_go}[command](
            storage, prefix
        )

    return Deferred.fromCoroutine(work())


if __name__ == "__main__":
    react(_main, sys.argv[1:])
