"""What a request that boto3 has sent tells about the bucket."""

from __future__ import annotations

import pytest
from botocore.awsrequest import AWSPreparedRequest

from qabel_block.storage.s3.signed_requests import BucketAddress

KEY = ".id"


def _address(url: str, authorization: str | bytes) -> BucketAddress | None:
    headers = {"Authorization": authorization} if authorization else {}
    request = AWSPreparedRequest("GET", url, headers, None, stream_output=True)
    return BucketAddress.used(request, KEY)


def _signed(scope: str, algorithm: str = "AWS4-HMAC-SHA256") -> str:
    return f"{algorithm} Credential=AK/ID/{scope}, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("url", "before"),
    [
        ("http://127.0.0.1:9000/bucket/.id", "http://127.0.0.1:9000/bucket/"),
        (
            "https://b.s3.eu-west-1.amazonaws.com/.id",
            "https://b.s3.eu-west-1.amazonaws.com/",
        ),
    ],
)
@pytest.mark.parametrize("encode", [str, str.encode])
def test_address(url: str, before: str, encode: type[str]) -> None:
    """It is where the bucket was found, and its region."""
    signed = encode(_signed("20260102/eu-west-1/s3/aws4_request"))
    assert _address(url, signed) == BucketAddress(before, "eu-west-1")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS AKID:signature",
        _signed("20260102/s3/aws4_request", "AWS4-ECDSA-P256-SHA256"),
        _signed("20260102/eu-west-1/s3express/aws4_request"),
        _signed("20260102/eu-west-1/s3-outposts/aws4_request"),
    ],
)
def test_other_signatures(authorization: str) -> None:
    """What is signed otherwise is left to boto3."""
    assert _address("https://b.s3.amazonaws.com/.id", authorization) is None


def test_other_key() -> None:
    """A key that is not as expected tells nothing."""
    signed = _signed("20260102/eu-west-1/s3/aws4_request")
    assert _address("https://b.s3.amazonaws.com/x.id", signed) is None
