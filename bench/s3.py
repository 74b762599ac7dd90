"""On S3 (SeaweedFS), against a bare script with boto3 and as many threads."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx

from bench import transfers, wrk
from bench.contest import (
    AUTHORIZATION,
    GIB,
    Contest,
    small_objects,
    store_small_objects,
)
from bench.rows import Row, Sample
from bench.services import TOKEN, services
from bench.wrk import Load
from tests.support.checkout import CHECKOUT
from tests.support.s3 import Bucket, Store, credentials
from tests.support.s3_servers import SeaweedServer
from tests.support.server import ServerProcess

CONNECTIONS = 32
_SMALL = "s3-small"
_HUGE = "s3-huge"


def s3_rows(contest: Contest) -> list[Row]:
    """Small objects in and out, and one of 1 GiB."""
    # A ledger of its own: no server takes a bucket for one that has files elsewhere.
    with SeaweedServer() as seaweed, services(contest.services.directory) as around:
        bucket = Store(seaweed.url, credentials()).new_bucket()
        around.add_prefixes({_SMALL: 1, _HUGE: 1})
        with around.server(
            *bucket.options(), storage=False, environment=bucket.store.environment
        ) as server:
            return [
                _get(contest, server, bucket),
                _post(contest, server, bucket),
                _upload(contest, server, bucket),
                _download(contest, server, bucket),
            ]


def _bare(bucket: Bucket, work: str, argument: str) -> Sample:
    output = subprocess.run(
        [
            *(sys.executable, "-m", "bench.bare_s3", bucket.store.endpoint_url),
            *(bucket.name, work, argument),
        ],
        env={**os.environ, **bucket.store.environment, "PYTHONPATH": str(CHECKOUT)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return Sample(float(output))


def _get(contest: Contest, server: ServerProcess, bucket: Bucket) -> Row:
    with httpx.Client(
        base_url=f"{server.url}/api/v0/files", headers=AUTHORIZATION, timeout=60
    ) as client:
        store_small_objects(client, _SMALL)
    load = small_objects(CONNECTIONS, _SMALL)
    return contest.alternate(
        Row("S3: GET 1 KiB, 32 connections", "bare boto3", "requests/s", 0.8),
        lambda: _loaded(server, load, contest.seconds),
        lambda: _bare(bucket, "get", str(contest.seconds)),
    )


def _post(contest: Contest, server: ServerProcess, bucket: Bucket) -> Row:
    load = Load(
        "POST",
        CONNECTIONS,
        prefix=f"/api/v0/files/{_SMALL}/new/",
        body_size=1024,
        headers=AUTHORIZATION,
    )
    return contest.alternate(
        Row("S3: POST 1 KiB, 32 connections", "bare boto3", "requests/s", 0.8),
        lambda: _loaded(server, load, contest.seconds),
        lambda: _bare(bucket, "put", str(contest.seconds)),
    )


def _upload(contest: Contest, server: ServerProcess, bucket: Bucket) -> Row:
    url = f"{server.url}/api/v0/files/{_HUGE}/0"
    headers = [f"Authorization: Token {TOKEN}"]
    return contest.alternate(
        Row("S3: upload 1 GiB", "bare boto3", "bytes/s", 0.9),
        lambda: Sample(GIB / transfers.upload(url, contest.large, headers)),
        lambda: _bare(bucket, "upload", str(contest.large)),
    )


def _download(contest: Contest, server: ServerProcess, bucket: Bucket) -> Row:
    url = f"{server.url}/api/v0/files/{_HUGE}/0"
    return contest.alternate(
        Row("S3: download 1 GiB", "bare boto3", "bytes/s", 0.9),
        lambda: Sample(GIB / transfers.download(url)),
        lambda: _bare(bucket, "download", str(contest.large)),
    )


def _loaded(server: ServerProcess, load: Load, seconds: int) -> Sample:
    seen = wrk.measure(server.url, server.pid, load, seconds)
    return Sample(seen.rate, seen.p50, seen.p99, seen.cpu)
