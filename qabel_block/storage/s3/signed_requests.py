"""Gets and puts objects without all that boto3 does for each call.

boto3 looks every call up in its model of S3, evaluates the rules by which endpoints are
found, and asks some dozen handlers: that takes longer than S3 itself does for a small
object. Here botocore's parts sign a request and send it, and that is all.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import botocore.session
from attrs import frozen
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.response import StreamingBody
from botocore.utils import get_environ_proxies
from twisted.logger import Logger

from qabel_block.storage.s3.upload_body import UploadBody

log = Logger()

Answer = Mapping[str, Any]
"""As boto3's methods return it, with the fields that are looked at."""

_SCOPE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^,]+/\d{8}/([^/,]+)/s3/aws4_request, .*"
)
NO_QUERY: Mapping[str, object] = {}
_UNSIGNED_BODY = Config(s3={"payload_signing_enabled": False})
"""The signature is about the body's MD5, a header, and so no body is hashed twice."""

_REFUSED = range(300, 404)
"""Statuses of a store that wants something of a request that boto3 would know."""


@frozen
class BucketAddress:
    """Where a bucket is, and how requests to it are signed.

    :ivar url: what comes before a key, with the slash.
    """

    url: str
    region: str

    @classmethod
    def used(cls, request: AWSPreparedRequest, key: str) -> BucketAddress | None:
        """Return the address to which boto3 has sent a request for an object; ``None``
        if it is not signed with version 4 of signatures, for S3 itself."""
        authorization = request.headers.get("Authorization", "")
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        scope = _SCOPE.fullmatch(authorization)
        url, path = request.url, _quoted(key)
        if scope is None or not url.endswith(f"/{path}"):
            return None
        return cls(url.removesuffix(path), scope[1])


class SignedRequests:
    """Sends requests for the objects of one bucket; may be used in any thread.

    What does not go as hoped returns ``None``, whatever it was: boto3 is to be asked
    then, which tries again, follows the bucket to its region, and knows errors.

    :param credentials: returns botocore's.
    :param connections: to keep open.
    :param seconds: limits of waiting, to connect and for an answer.
    :param record: told how many seconds each request took; the answer's body is not
        waited for.
    """

    def __init__(
        self,
        credentials: Callable[[], Any],
        *,
        connections: int,
        seconds: tuple[float, float],
        record: Callable[[float], object],
    ) -> None:
        self._credentials = credentials
        self._record = record
        session = botocore.session.get_session()
        self._user_agent = session.user_agent()
        ca_bundle = session.get_config_variable("ca_bundle")
        self._sender = lambda url: URLLib3Session(
            # As boto3 finds them.
            verify=ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE", True),
            proxies=get_environ_proxies(url),
            timeout=seconds,
            max_pool_connections=connections,
            # A head and a body are two packets.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._http: URLLib3Session | None = None
        self._address: BucketAddress | None = None

    def send_to(self, address: BucketAddress | None) -> None:
        """Take an address for the bucket's; without one nothing is sent."""
        if address is not None and self._http is None:
            self._http = self._sender(address.url)
        self._address = address

    def get(self, key: str, byte_range: str) -> Answer | None:
        """Begin to read some bytes of an object; ``Body`` has them."""
        answer = self._send("GET", key, {"Range": byte_range})
        if answer is None:
            return None
        length = answer.headers.get("Content-Length")
        return {
            "Body": StreamingBody(answer.raw, length),
            "ContentLength": int(length) if length and length.isdecimal() else -1,
            "ContentRange": answer.headers.get("Content-Range", ""),
            "ResponseMetadata": {"HTTPStatusCode": answer.status_code},
        }

    def put(
        self,
        key: str,
        body: UploadBody,
        content_md5: str,
        query: Mapping[str, object] = NO_QUERY,
    ) -> Answer | None:
        """Store an object, or a part of one.

        :param body: where nothing is returned it is at its beginning again.
        :param query: which part of which upload.
        """
        headers = {"Content-MD5": content_md5}
        answer = self._send("PUT", key, headers, body, query)
        if answer is None or answer.status_code != 200 or not _is_empty(answer):
            if answer is not None:
                answer.raw.close()
            body.seek(0)
            return None
        encryption = answer.headers.get("x-amz-server-side-encryption", "AES256")
        return {
            "ETag": answer.headers.get("ETag", ""),
            "ServerSideEncryption": encryption,
        }

    def close(self) -> None:
        """Close idle connections."""
        if self._http is not None:
            self._http.close()

    def _send(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        body: UploadBody | None = None,
        query: Mapping[str, object] = NO_QUERY,
    ) -> AWSResponse | None:
        address, http = self._address, self._http
        if address is None or http is None:
            return None
        request = AWSRequest(
            method=method,
            url=f"{address.url}{_quoted(key)}",
            params=query,
            headers={"User-Agent": self._user_agent, **headers},
            data=body,
            stream_output=True,
        )
        request.context["client_config"] = _UNSIGNED_BODY
        credentials = self._credentials().get_frozen_credentials()
        S3SigV4Auth(credentials, "s3", address.region).add_auth(request)
        began = time.monotonic()
        try:
            answer = http.send(request.prepare())
        except BotoCoreError as error:
            log.debug("{method} {key}: {error}", method=method, key=key, error=error)
            return None
        finally:
            self._record(time.monotonic() - began)
        if answer.status_code in (200, 206):
            return answer
        answer.raw.close()
        if answer.status_code in _REFUSED and self._address is address:
            self._address = None
        return None


def _is_empty(answer: AWSResponse) -> bool:
    """Read an answer to its end, for the connection to be used again, if there is
    nothing in it."""
    try:
        return not StreamingBody(answer.raw, None).read(1)
    except BotoCoreError:
        return False


def _quoted(key: str) -> str:
    return quote(key, safe="/~")
