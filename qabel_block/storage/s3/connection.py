"""The client of a bucket, made when it is first needed."""

from __future__ import annotations

import threading

from qabel_block.storage.s3.client import Connect, S3Client


class S3Connection:
    """Makes one client for all threads.

    :param connect: makes it: that reads files and may ask the cloud for
        credentials, and is tried again by the next who asks if it fails.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    def client(self) -> S3Client:
        """Return the client; in a thread."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()
