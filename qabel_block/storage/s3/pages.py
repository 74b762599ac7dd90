"""Lists a bucket, made so that any store understands it.

Nothing here depends on the order of keys: stores that keep folders have another
than S3's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from qabel_block.errors import BlockError, Unavailable
from qabel_block.model import ListedBlob
from qabel_block.names import parse_blob_key, shown
from qabel_block.storage.s3.errors import (
    NO_SENSE,
    NO_SUCH_KEY,
    code_of,
    text_of,
    translated,
)

DELIMITER = "/"

INCOMPLETE = "S3 lists an object without its size or its time"

LARGEST = 2**63
"""Bytes that no object has; so much fits into the ledger."""

_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,100}"')


class S3Pages:
    """One bucket's listing. All methods block.

    They raise :class:`~qabel_block.errors.Unavailable` if the store fails.

    :param client: boto3's.
    :param size: keys of a page.
    """

    def __init__(self, client: Any, bucket: str, size: int) -> None:
        self._size = size
        self._client = client
        self._bucket = bucket

    def root(self) -> Iterator[tuple[list[str], list[str]]]:
        """Return what keys have before their first slash, and the keys without any,
        page by page."""
        for page in self._pages(Delimiter=DELIMITER):
            folders = page.get("CommonPrefixes", ())
            names = [text_of(item, "Prefix") for item in folders]
            keys = [text_of(item, "Key") for item in page.get("Contents", ())]
            yield [name.removesuffix(DELIMITER) for name in names], keys

    def below(self, prefix: str, after: str = "") -> Iterator[list[ListedBlob | str]]:
        """Return the blobs below a prefix, page by page, and as text what is none.

        :param after: the key after which to begin, in the order of the store.
        """
        start = {"StartAfter": after} if after else {}
        beginning = f"{prefix}{DELIMITER}"
        for page in self._pages(Prefix=beginning, **start):
            found = page.get("Contents", ())
            if not all(text_of(item, "Key").startswith(beginning) for item in found):
                raise Unavailable("storage", "S3 lists what it was not asked for")
            yield [_listed(item) for item in found]

    def stat(self, key: str) -> ListedBlob | None:
        """Return what there is to say about one blob, ``None`` if it is not there."""
        try:
            with translated():
                answer = self._client.head_object(Bucket=self._bucket, Key=key)
        except BlockError as error:
            if code_of(error) in NO_SUCH_KEY:
                return None
            raise
        listed = _listed({"Key": key, "Size": answer.get("ContentLength"), **answer})
        return listed if isinstance(listed, ListedBlob) else None

    def _pages(self, **what: str) -> Iterator[Mapping[str, Any]]:
        following: dict[str, str] = {}
        tokens = {""}
        while True:
            with translated():
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, MaxKeys=self._size, **what, **following
                )
            # What is no listing would be that of an empty bucket.
            status = page["ResponseMetadata"]["HTTPStatusCode"]
            if status != 200 or "IsTruncated" not in page:
                raise Unavailable("storage", NO_SENSE)
            yield page
            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken")
            if not isinstance(token, str) or token in tokens:
                raise Unavailable("storage", "S3 breaks off a listing")
            tokens.add(token)
            following = {"ContinuationToken": token}


def _listed(item: Mapping[str, Any]) -> ListedBlob | str:
    key = text_of(item, "Key")
    try:
        name, version = parse_blob_key(key)
    except ValueError:
        return shown(key)
    # The legacy server's validator was S3's.
    etag = str(item.get("ETag", ""))
    if version is not None or not _ETAG.fullmatch(etag):
        return ListedBlob(key, name, version, *_facts(item), None)
    return ListedBlob(key, name, version, *_facts(item), etag)


def _facts(item: Mapping[str, Any]) -> tuple[int, float]:
    size, modified = item.get("Size"), item.get("LastModified")
    if size is None or modified is None or not 0 <= size < LARGEST:
        raise Unavailable("storage", INCOMPLETE)
    return size, modified.timestamp()
