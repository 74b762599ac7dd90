"""Us against the others, by turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
from attrs import define, field

from bench import transfers, wrk
from bench.processes import cpu_seconds, watched
from bench.rivals import Rival
from bench.rows import Figure, Row, Sample
from bench.services import TOKEN, Services
from bench.wrk import Load
from tests.support.server import ServerProcess

AUTHORIZATION = {"Authorization": f"Token {TOKEN}"}
GIB = 2**30
MIB = 2**20
SMALL = 1_000
LARGE = 8


@define
class Contest:
    """One server of ours and its rivals.

    :ivar seconds: how long a round of load takes.
    :ivar large: a file of 1 GiB.
    """

    services: Services
    server: ServerProcess
    nginx: Rival
    bare: Rival
    rounds: int
    seconds: int
    large: Path
    etag: str = ""
    figures: list[Figure] = field(factory=list)

    @property
    def us(self) -> Rival:
        """Our server, as one of them."""
        return Rival(f"{self.server.url}/api/v0/files", self.server.pid)

    def get_small(self) -> Row:
        """GET of 1 KiB objects."""
        load = small_objects(64)
        return self.alternate(
            Row("GET 1 KiB, 64 connections", "bare Klein route", "requests/s", 0.75),
            lambda: self._wrk(self.us, load),
            lambda: self._wrk(self.bare, load),
        )

    def get_unchanged(self) -> Row:
        """GET answered 304."""
        paths = ["/api/v0/files/small/0"]
        load = Load(paths=paths, headers={"If-None-Match": self.etag})
        return self.alternate(
            Row("GET answered 304", "bare Klein route", "requests/s", 0.85),
            lambda: self._wrk(self.us, load),
            lambda: self._wrk(self.bare, Load(paths=paths)),
        )

    def post_small(self) -> Row:
        """Durable uploads of 1 KiB."""
        ours = Load(
            "POST",
            32,
            prefix="/api/v0/files/small/new/",
            body_size=1024,
            headers=AUTHORIZATION,
        )
        return self.alternate(
            Row("POST 1 KiB durable, 32 connections", "the disk", "requests/s", 0.50),
            lambda: self._wrk(self.us, ours),
            self._disk_limit,
        )

    def post_cpu(self) -> Row:
        """Processor time of a small durable upload."""
        ours = Load(
            "POST",
            32,
            prefix="/api/v0/files/small/cpu/",
            body_size=1024,
            headers=AUTHORIZATION,
        )
        theirs = Load("POST", 32, prefix="/", body_size=1024)
        return self.alternate(
            Row("POST 1 KiB durable, CPU", "bare Klein POST", "s", 3.0, at_most=True),
            lambda: _processor(self._wrk(self.us, ours)),
            lambda: _processor(self._wrk(self.bare, theirs)),
        )

    def _disk_limit(self) -> Sample:
        command = [sys.executable, "-m", "bench.disk_limit"]
        folder = self.services.directory.parent / "disk-limit"
        arguments = [str(folder), self.services.dsn, str(self.seconds)]
        output = subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout
        return Sample(float(output))

    def get_large(self) -> Row:
        """GET of 4 MiB objects."""
        ours = Load(
            connections=8, paths=[f"/api/v0/files/large/{n}" for n in range(LARGE)]
        )
        files = self.services.blob_files("large")
        theirs = Load(connections=8, paths=[f"/{name}" for name in files])
        return self.alternate(
            Row("GET 4 MiB, 8 connections", "nginx sendfile", "bytes/s", 0.85),
            lambda: self._wrk(self.us, ours, bandwidth=True),
            lambda: self._wrk(self.nginx, theirs, bandwidth=True),
        )

    def large_cpu(self) -> Row:
        """Processor time of a GET of 4 MiB."""
        ours = Load(
            connections=8, paths=[f"/api/v0/files/large/{n}" for n in range(LARGE)]
        )
        files = self.services.blob_files("large")
        theirs = Load(connections=8, paths=[f"/{name}" for name in files])
        return self.alternate(
            Row("GET 4 MiB, CPU", "nginx sendfile", "s", 1.5, at_most=True),
            lambda: _processor(self._wrk(self.us, ours)),
            lambda: _processor(self._wrk(self.nginx, theirs)),
        )

    def upload_large(self) -> Row:
        """1 GiB in."""
        ours = f"{self.us.url}/huge/upload"
        headers = [f"Authorization: Token {TOKEN}"]

        def upload() -> Sample:
            with watched(self.server.pid) as growth:
                before = cpu_seconds(self.server.pid)
                took = transfers.upload(ours, self.large, headers)
                used = cpu_seconds(self.server.pid) - before
            self._grown("upload of 1 GiB", growth.grown)
            return Sample(GIB / took, cpu=used)

        return self.alternate(
            Row("upload 1 GiB", "nginx DAV, not synced", "bytes/s", 1.0),
            upload,
            lambda: Sample(
                GIB / transfers.upload(f"{self.nginx.url}/dav/huge", self.large)
            ),
        )

    def download_large(self) -> Row:
        """1 GiB out."""
        (file,) = self.services.blob_files("huge-download")

        def download() -> Sample:
            with watched(self.server.pid) as growth:
                before = cpu_seconds(self.server.pid)
                took = transfers.download(f"{self.us.url}/huge-download/0")
                used = cpu_seconds(self.server.pid) - before
            self._grown("download of 1 GiB", growth.grown)
            return Sample(GIB / took, cpu=used)

        return self.alternate(
            Row("download 1 GiB", "nginx sendfile", "bytes/s", 0.85),
            download,
            lambda: Sample(GIB / transfers.download(f"{self.nginx.url}/{file}")),
        )

    def latency_during_transfers(self) -> Row:
        """GET of small objects while eight uploads and eight downloads of 1 GiB run."""
        load = small_objects(8)

        def busy() -> Sample:
            headers = [f"Authorization: Token {TOKEN}"]
            running = [
                transfers.start_upload(
                    f"{self.us.url}/huge/{number}", self.large, headers
                )
                for number in range(8)
            ]
            running += [
                transfers.start_download(f"{self.us.url}/huge-download/0")
                for _ in range(8)
            ]
            try:
                return self._p99(load)
            finally:
                for one in running:
                    one.kill()
                    one.wait()

        return self.alternate(
            Row("p99 of GET 1 KiB, 8 uploads, 8 downloads", "idle", "s", 3.0, True),
            busy,
            lambda: self._p99(load),
        )

    def _p99(self, load: Load) -> Sample:
        seen = wrk.measure(self.server.url, self.server.pid, load, self.seconds)
        return Sample(seen.p99, seen.p50, seen.p99, seen.cpu)

    def alternate(
        self, row: Row, ours: Callable[[], Sample], theirs: Callable[[], Sample]
    ) -> Row:
        """Fill a row with rounds of ours and theirs, by turns."""
        for _ in range(self.rounds):
            row.ours.append(ours())
            row.theirs.append(theirs())
        return row

    def _wrk(self, rival: Rival, load: Load, bandwidth: bool = False) -> Sample:
        address = rival.url.removesuffix("/api/v0/files")
        seen = wrk.measure(address, rival.pid, load, self.seconds)
        score = seen.bandwidth if bandwidth else seen.rate
        return Sample(score, seen.p50, seen.p99, seen.cpu)

    def _grown(self, transfer: str, grown: int) -> None:
        work = f"memory above idle, {transfer}"
        self.figures = [one for one in self.figures if one.work != work]
        self.figures.append(Figure(work, grown / MIB, 16, "MiB"))


def _processor(sample: Sample) -> Sample:
    """Return a sample whose score is the processor time of a request."""
    assert sample.cpu is not None
    return Sample(sample.cpu, sample.p50, sample.p99, sample.cpu)


def store_small_objects(client: httpx.Client, prefix: str = "small") -> None:
    """Store what :func:`small_objects` asks for.

    :param client: of a user; its URLs begin where those of files do.
    """
    for number in range(SMALL):
        body = number.to_bytes(4, "big") * 256
        client.post(f"/{prefix}/{number}", content=body).raise_for_status()


def small_objects(connections: int, prefix: str = "small") -> Load:
    """Return GETs of objects of 1 KiB."""
    paths = [f"/api/v0/files/{prefix}/{number}" for number in range(SMALL)]
    return Load(connections=connections, paths=paths)
