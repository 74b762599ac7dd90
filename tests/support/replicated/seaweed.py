"""SeaweedFS as several processes, which keeps two copies of everything."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from tests.support.ports import free_port
from tests.support.replicated.daemon import Daemon
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, identities, stores
from tests.support.waiting import wait_for

REPLICATION = "001"
"""One more copy, on another server."""


class ReplicatedSeaweed:
    """A master, three volume servers, a filer and an S3 gateway.

    :ivar options: of the server, to use it.
    :ivar environment: likewise.
    """

    def __init__(self, folder: Path) -> None:
        weed = str(Path(sysconfig.get_path("scripts")) / "weed")
        master, s3 = free_port(), free_port()
        address = ("-ip=127.0.0.1", "-ip.bind=127.0.0.1")
        file = folder / "s3.json"
        file.write_text(json.dumps(identities()))
        master_grpc = free_port()
        leader = f"127.0.0.1:{master}.{master_grpc}"

        def part(name: str, *arguments: str) -> Daemon:
            return Daemon(name, [weed, *arguments], folder)

        def home(name: str) -> str:
            (folder / name).mkdir()
            return str(folder / name)

        self.master = part(
            "seaweed-master",
            *("master", *address, f"-port={master}", f"-port.grpc={master_grpc}"),
            *(f"-mdir={home('master')}", f"-defaultReplication={REPLICATION}"),
            *("-volumeSizeLimitMB=64", "-telemetry=false"),
        )
        self.volumes = [
            part(
                f"seaweed-volume-{number}",
                *("volume", *address, f"-port={free_port()}"),
                *(f"-port.grpc={free_port()}", f"-master={leader}", "-max=60"),
                f"-dir={home(f'volume-{number}')}",
            )
            for number in (1, 2, 3)
        ]
        filer, filer_grpc = free_port(), free_port()
        self.filer = part(
            "seaweed-filer",
            *("filer", *address, f"-port={filer}", f"-port.grpc={filer_grpc}"),
            *(f"-master={leader}", f"-defaultReplicaPlacement={REPLICATION}"),
            *(f"-defaultStoreDir={home('filer')}", f"-localSocket={folder}/filer.sock"),
        )
        self.gateway = part(
            "seaweed-s3",
            *("s3", "-ip.bind=127.0.0.1", f"-port={s3}", f"-port.grpc={free_port()}"),
            *(f"-filer=127.0.0.1:{filer}.{filer_grpc}", f"-config={file}"),
            *("-port.iceberg=0", "-port.lance=0", f"-localSocket={folder}/s3.sock"),
        )
        self._url = f"http://127.0.0.1:{s3}"
        self.options = ("--s3-endpoint-url", self._url, "--s3-bucket", "started")
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def parts(self) -> list[Daemon]:
        """All processes, in the order in which they are started."""
        return [self.master, *self.volumes, self.filer, self.gateway]

    def start(self) -> None:
        """Start all, and return when objects can be stored."""
        for part in self.parts:
            part.start()
        wait_for(lambda: stores(self._url), 120)

    def stop(self) -> None:
        for part in reversed(self.parts):
            part.resume()
            part.kill()
