"""Lets libraries read large files once, instead of anew for each of their clients.

A session of boto3 parses the model of S3 (0.15 s of processor time), a client of
httpx the certificates of all authorities (0.04 s). Tests make thousands of them. And
pytest looks up Twisted's version before each test (0.7 ms).
"""

from __future__ import annotations

import importlib.metadata
import os
import ssl
from functools import lru_cache
from typing import Any

import certifi
from botocore.loaders import JSONFileLoader

_parse = JSONFileLoader().load_file
_version = importlib.metadata.version
_new_context = ssl.create_default_context
_AUTHORITIES = os.environ.get("SSL_CERT_FILE") or certifi.where()


@lru_cache
def _load_file(path: str) -> Any:
    return _parse(path)


@lru_cache
def _public_authorities() -> ssl.SSLContext:
    return _new_context(cafile=_AUTHORITIES)


def _create_default_context(*args: Any, **options: Any) -> ssl.SSLContext:
    if args or options != {"cafile": _AUTHORITIES}:
        return _new_context(*args, **options)
    return _public_authorities()


def read_once() -> None:
    """Begin with that in this process."""
    JSONFileLoader.load_file = lambda _self, path: _load_file(path)
    ssl.create_default_context = _create_default_context
    importlib.metadata.version = lru_cache(_version)
