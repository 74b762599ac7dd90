"""The README's policy is all that the server needs, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_twisted
from botocore.exceptions import ClientError
from twisted.internet.task import Clock

from qabel_block.errors import BlockError
from qabel_block.util.threads import ThreadPool
from tests.integration.storage.blobs import INSTALLATION, new_key, pattern, read, write
from tests.integration.storage.conftest import environment, s3_storage
from tests.support.s3 import Bucket, Store, credentials
from tests.support.s3_servers import MotoServer

README = Path(__file__).resolve().parents[3] / "README.md"
BUCKET = "qabel"
LARGE = pattern(6 * 2**20)
SETTING_UP = 5
"""What moto is asked before it begins to look at permissions."""


def policy() -> dict[str, Any]:
    """Return the README's policy."""
    match = re.search(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def actions() -> list[str]:
    """Return all that it allows."""
    return [action for it in policy()["Statement"] for action in it["Action"]]


def without(action: str) -> dict[str, Any]:
    """Return it without one action."""
    changed = policy()
    for one in changed["Statement"]:
        one["Action"] = [allowed for allowed in one["Action"] if allowed != action]
    return changed


def as_moto_reads_it(text: str) -> str:
    """Return a policy with two things that AWS does not know: there HeadBucket is
    allowed by ListBucket, and DeleteObjects is asked of objects, not of buckets."""
    text = text.replace('"s3:ListBucket"', '"s3:ListBucket", "s3:HeadBucket"')
    objects, bucket = f'"arn:aws:s3:::{BUCKET}/*"', f'"arn:aws:s3:::{BUCKET}"'
    return text.replace(objects, f"[{objects}, {bucket}]")


@pytest.fixture
def moto_with_permissions() -> Iterator[MotoServer]:
    with (
        environment({"INITIAL_NO_AUTH_ACTION_COUNT": str(SETTING_UP)}),
        MotoServer() as server,
    ):
        yield server


def bucket_for(server: MotoServer, document: dict[str, Any]) -> Bucket:
    """Make a bucket, and a user with a policy, whose credentials it is used with."""
    arguments = {
        "endpoint_url": server.url,
        "region_name": "us-east-1",
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
    }
    boto3.client("s3", **arguments).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **arguments)
    iam.create_user(UserName="server")
    text = as_moto_reads_it(json.dumps(document))
    made = iam.create_policy(PolicyName="p", PolicyDocument=text)
    iam.attach_user_policy(UserName="server", PolicyArn=made["Policy"]["Arn"])
    key = iam.create_access_key(UserName="server")["AccessKey"]
    store = Store(server.url, credentials(key["AccessKeyId"], key["SecretAccessKey"]))
    return Bucket(store, BUCKET, store.client())


class Denied(Exception):
    """Something could not be done."""


async def use(bucket: Bucket, threads: ThreadPool) -> None:
    """Do all that a server does with a bucket."""
    try:
        await _use(bucket, threads)
    except (BlockError, ClientError) as error:
        raise Denied from error


async def _use(bucket: Bucket, threads: ThreadPool) -> None:
    storage = s3_storage(bucket, threads, clock=Clock())
    await storage.bind(INSTALLATION)
    await storage.check()
    small, large = new_key(), new_key()
    await write(storage, small, b"small")
    await write(storage, large, LARGE)
    assert await read(storage, small, 1, 3) == b"mal"
    assert await read(storage, large, 0, len(LARGE)) == LARGE
    writer = await storage.create(new_key())
    await writer.write(LARGE)
    await writer.abort()
    failed = await storage.delete([small, large])
    await storage.close()
    if failed or bucket.uploads():
        raise Denied


@pytest_twisted.ensureDeferred
async def test_policy(moto_with_permissions: MotoServer, threads: ThreadPool) -> None:
    """With the policy everything works."""
    await use(bucket_for(moto_with_permissions, policy()), threads)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("action", actions())
async def test_smaller_policy(
    moto_with_permissions: MotoServer, threads: ThreadPool, action: str
) -> None:
    """Without any part of it something does not work."""
    bucket = bucket_for(moto_with_permissions, without(action))
    with pytest.raises(Denied):
        await use(bucket, threads)
