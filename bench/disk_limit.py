"""What the disk allows: ``python -m bench.disk_limit DIRECTORY DSN SECONDS``.

Threads write files of 1 KiB, sync them, rename them, and sync their folders; beside
them the database commits once for each 32. No server that keeps each file by itself
and answers when it is durable can do more. Prints files a second.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from itertools import count
from pathlib import Path

import psycopg2

THREADS = 10
"""As many as ``--transfers`` has by default."""

FILES_PER_COMMIT = 32
_BODY = b"x" * 1024


class _Loop:
    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder = folder
        self._connection = psycopg2.connect(dsn)
        self._one_commit = threading.Lock()
        self._numbers = count(1)
        self.written = 0

    def run(self, seconds: float) -> None:
        """Write files in all threads for a while."""
        deadline = time.monotonic() + seconds
        with self._connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS disk_limit (number INTEGER)")
        threads = [
            threading.Thread(target=self._work, args=(deadline,))
            for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            number = next(self._numbers)
            _write_durably(self._folder, f"{number}")
            self.written = number
            if number % FILES_PER_COMMIT == 0:
                with self._one_commit, self._connection.cursor() as cursor:
                    cursor.execute("INSERT INTO disk_limit VALUES (%s)", (number,))
                    self._connection.commit()


def _write_durably(folder: Path, name: str) -> None:
    temporary = folder / f"{name}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, _BODY)
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(temporary, folder / name)
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def main() -> None:
    """Write, and print the rate."""
    directory, dsn, seconds = sys.argv[1:]
    folder = Path(directory)
    folder.mkdir(exist_ok=True)
    loop = _Loop(folder, dsn)
    began = time.monotonic()
    loop.run(float(seconds))
    sys.stdout.write(f"{loop.written / (time.monotonic() - began)}\n")


if __name__ == "__main__":
    main()
