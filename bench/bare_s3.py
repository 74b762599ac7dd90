"""boto3 without a server around it: ``python -m bench.bare_s3``.

    python -m bench.bare_s3 ENDPOINT BUCKET put|get SECONDS
    python -m bench.bare_s3 ENDPOINT BUCKET upload|download FILE

As many threads as ``--transfers`` has put or get objects of 1 KiB, or move one large
file in parts. Prints objects or bytes a second. Credentials are boto3's own.
"""

from __future__ import annotations

import sys
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

THREADS = 10
OBJECTS = 200
_BODY = b"x" * 1024
_PARTS = TransferConfig(max_concurrency=THREADS)


def _client(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(
            max_pool_connections=THREADS,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _small(client: Any, bucket: str, get: bool, seconds: float) -> float:
    numbers = count()
    done = [0] * THREADS
    if get:
        for number in range(OBJECTS):
            client.put_object(Bucket=bucket, Key=f"get/{number}", Body=_BODY)
    deadline = time.monotonic() + seconds

    def work(thread: int) -> None:
        while time.monotonic() < deadline:
            number = next(numbers)
            if get:
                key = f"get/{number % OBJECTS}"
                client.get_object(Bucket=bucket, Key=key)["Body"].read()
            else:
                client.put_object(Bucket=bucket, Key=f"put/{number}", Body=_BODY)
            done[thread] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def _large(client: Any, bucket: str, file: Path, upload: bool) -> float:
    if not upload and not _is_there(client, bucket):
        client.upload_file(str(file), bucket, "huge", Config=_PARTS)
    began = time.monotonic()
    if upload:
        client.upload_file(str(file), bucket, "huge", Config=_PARTS)
    else:
        with Path("/dev/null").open("wb") as nowhere:
            body = client.get_object(Bucket=bucket, Key="huge")["Body"]
            for piece in body.iter_chunks(256 * 1024):
                nowhere.write(piece)
    return file.stat().st_size / (time.monotonic() - began)


def _is_there(client: Any, bucket: str) -> bool:
    found = client.list_objects_v2(Bucket=bucket, Prefix="huge")
    return bool(found["KeyCount"])


def main() -> None:
    """Measure, and print the rate."""
    endpoint, bucket, work, argument = sys.argv[1:]
    client = _client(endpoint)
    if work in ("put", "get"):
        rate = _small(client, bucket, work == "get", float(argument))
    else:
        rate = _large(client, bucket, Path(argument), work == "upload")
    sys.stdout.write(f"{rate}\n")


if __name__ == "__main__":
    main()
