"""S3 servers out of Python wheels, on 127.0.0.1."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import boto3
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.ports import free_port
from tests.support.waiting import TIMEOUT_SECONDS

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
START_SECONDS = 120.0

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.https",
)


class _Server:
    """A process with a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qabel-block-s3-")
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(self._folder.name)
        self.log = self.folder / "log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        # Nothing of it is needed any more.
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_SECONDS)
        self._folder.cleanup()

    def start(self) -> None:
        raise NotImplementedError

    def _run(self, *command: str) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def _wait_until(self, ready: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + START_SECONDS
        while not (result := ready()):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"S3 did not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return result


class MotoServer(_Server):
    """moto, in a process of its own."""

    def start(self) -> None:
        self._run(sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
        match = self._wait_until(
            lambda: re.search(r"Running on (http://[\d.:]+)", self.log.read_text())
        )
        self.url = str(match[1])


class SeaweedServer(_Server):
    """SeaweedFS: all of its parts in one process, over http and https.

    :ivar ca_bundle: a file with the certificate that is to be trusted.
    """

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for name, port in self._ports.items():
            # What it makes besides, wherever it is told to work.
            part, _, kind = name.partition(".port.")
            if kind == "grpc":
                Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)

    def start(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        self.ca_bundle = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_bundle))
        (self.folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
        (self.folder / "cert.pem").write_bytes(
            b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        )
        (self.folder / "data").mkdir()
        (self.folder / "s3.json").write_text(json.dumps(identities()))
        self._ports = {name: free_port() for name in _PORTS}
        self._run(
            str(Path(sysconfig.get_path("scripts")) / "weed"),
            "server",
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
            *("-volume.max=1000", "-metricsPort=0"),
            *("-s3", "-s3.config=s3.json", "-s3.autoCreateBucket=false"),
            *("-s3.cert.file=cert.pem", "-s3.key.file=key.pem"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"),
            *(f"-{name}={port}" for name, port in self._ports.items()),
        )
        self.url = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.https_url = f"https://127.0.0.1:{self._ports['s3.port.https']}"
        self._wait_until(lambda: stores(self.url))


def stores(url: str) -> bool:
    """Say whether all parts of a SeaweedFS have found each other, and can store."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        client.create_bucket(Bucket="started")
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            return False
    except BotoCoreError:
        return False
    try:
        client.put_object(Bucket="started", Key="yes", Body=b"yes")
        client.delete_object(Bucket="started", Key="yes")
    except (ClientError, BotoCoreError):
        return False
    return True


def identities() -> dict[str, Any]:
    """Return the one user there is, for ``-s3.config``."""
    return {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
