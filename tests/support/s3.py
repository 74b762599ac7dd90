"""S3 for tests: moto and SeaweedFS out of wheels, or a store that is named.

If the environment variable ``QABEL_BLOCK_TEST_S3`` (the URL of an endpoint) is
set, that store is used instead of all of them, with credentials from where boto3
finds them. Each user of a store makes buckets of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from uuid import uuid4

import boto3
import pytest
from attrs import field, frozen
from botocore.config import Config

from qabel_block.names import IDENTITY
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, MotoServer, SeaweedServer

__all__ = ["moto", "seaweedfs", "store"]

NAMED = os.environ.get("QABEL_BLOCK_TEST_S3")
STORES = ("named",) if NAMED else ("moto", "seaweedfs-http", "seaweedfs-https")


@lru_cache
def _session() -> boto3.session.Session:
    """Return the one of this process; what it knows of S3 takes long to read."""
    return boto3.session.Session()


@frozen
class Store:
    """An S3 endpoint.

    :ivar environment: what tells boto3 of credentials and certificates.
    """

    endpoint_url: str
    environment: dict[str, str] = field(factory=dict, repr=False)

    def client(self) -> boto3.client:
        """Return a client that asks each thing once."""
        return _session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.environment.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=self.environment.get("AWS_SECRET_ACCESS_KEY"),
            verify=self.environment.get("AWS_CA_BUNDLE"),
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def new_bucket(self) -> Bucket:
        """Make an empty bucket."""
        name = f"qabel-{uuid4()}"
        client = self.client()
        client.create_bucket(Bucket=name)
        return Bucket(self, name, client)


@frozen
class Bucket:
    """A bucket, seen behind the server's back."""

    store: Store
    name: str
    client: boto3.client = field(repr=False)

    def options(self) -> tuple[str, ...]:
        """Return the options with which a server uses this bucket."""
        return ("--s3-bucket", self.name, "--s3-endpoint-url", self.store.endpoint_url)

    def keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin like this, but that of the bucket's identity."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        items = [item for page in pages for item in page.get("Contents", ())]
        return [item["Key"] for item in items if item["Key"] != IDENTITY]

    def uploads(self) -> list[tuple[str, str]]:
        """Return keys and IDs of all multipart uploads that are under way."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.name
        )
        return [
            (upload["Key"], upload["UploadId"])
            for page in pages
            for upload in page.get("Uploads", ())
        ]


def credentials(
    access_key: str = ACCESS_KEY, secret: str = SECRET_KEY
) -> dict[str, str]:
    """Return an environment in which boto3 finds these and no other."""
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def moto() -> Iterator[Store]:
    """A store that keeps everything in memory and believes all credentials."""
    with MotoServer() as server:
        yield Store(server.url, credentials())


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[dict[str, Store]]:
    """A store that keeps everything on disk and checks credentials."""
    with SeaweedServer() as server:
        ca_bundle = {"AWS_CA_BUNDLE": str(server.ca_bundle)}
        yield {
            "seaweedfs-http": Store(server.url, credentials()),
            "seaweedfs-https": Store(server.https_url, credentials() | ca_bundle),
        }


def store_named(name: str, request: pytest.FixtureRequest) -> Store:
    """Return the store of this name in :data:`STORES`; it is started first."""
    if NAMED:
        return Store(NAMED)
    if name == "moto":
        moto: Store = request.getfixturevalue("moto")
        return moto
    seaweedfs: dict[str, Store] = request.getfixturevalue("seaweedfs")
    return seaweedfs[name]


@pytest.fixture(scope="session", params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    """Each of the stores."""
    return store_named(request.param, request)
