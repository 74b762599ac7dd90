"""The private names of other projects on which this one leans.

Each is listed here, and fails by its name when a new release has it no more. What
leans on a name without a place in these lists fails as well.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Histogram, Summary, values
from twisted.internet import tcp
from twisted.internet.abstract import FileDescriptor
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel, Request
from txredisapi import BaseRedisProtocol, ReplyQueue

import qabel_block
from qabel_block.http.transport.channel import BlockChannel
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.ledger.postgres import connection
from qabel_block.listening.ports import TcpPort, UnixPort
from qabel_block.util.proxy_protocol import ProxyHeaderWrapper

PRIVATE: dict[type, set[str]] = {
    BlockChannel: {
        "_abortingCall",
        "_buffer",
        "_command",
        "_dataBuffer",
        "_handlingRequest",
        "_maybeChooseTransferDecoder",
        "_networkProducer",
        "_path",
        "_respondToBadRequestAndDisconnect",
        "_transferDecoder",
        "_version",
    },
    StreamingRequest: {"_cleanup", "_disconnected"},
    TcpPort: {"_fromListeningDescriptor"},
    UnixPort: {
        "_bindPath",
        "_fromListeningDescriptor",
        "_preexistingSocket",
        "_shouldShutdown",
    },
    ProxyHeaderWrapper: {"_parser", "_proxyInfo"},
    connection._Connection: {"_connection", "_cursors", "_pollingD"},
}
"""What each class of ours uses of the classes that it inherits from."""

UNDOCUMENTED = {
    LineReceiver: {"line_mode"},
    HTTPChannel: {
        "allContentReceived",
        "allHeadersReceived",
        "checkPersistence",
        "forceAbortClient",
        "length",
        "persistent",
        "requestDone",
        "requests",
        "writeHeaders",
    },
    Request: {"code_message", "finished", "queued", "sentLength", "startedWriting"},
    FileDescriptor: {
        "_tempDataLen",
        "dataBuffer",
        "producer",
        "producerPaused",
        "startWriting",
    },
    BaseRedisProtocol: {
        "clearLineBuffer",
        "lineLengthExceeded",
        "lineReceived",
        "replyQueue",
        "replyReceived",
    },
    ReplyQueue: {"waiting"},
    tcp.Connection: {"TLS", "bufferSize"},
    tcp.Port: {"disconnecting", "numberAccepts"},
}
"""Names without an underscore that no interface promises."""

NAME = re.compile(r"\b(?:self|super\(\)|cls|channel|request)\.(_[a-zA-Z]\w*)")


def _foreign(kind: type) -> list[type]:
    return [
        base
        for base in kind.__mro__
        if not base.__module__.startswith(("qabel_block", "builtins", "typing"))
    ]


def _names(kinds: list[type]) -> set[str]:
    """Return the names that classes have, or their methods give to instances."""
    found = set[str]()
    for kind in kinds:
        found |= vars(kind).keys()
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            continue  # it is not written in Python
        found |= set(re.findall(r"\bself\.(\w+)", source))
    return found


def _ours() -> Iterator[type]:
    """Return all classes that inherit from another project's."""
    for module in pkgutil.walk_packages(qabel_block.__path__, "qabel_block."):
        if module.name.endswith("__main__") or "uwsgi" in module.name:
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(kind) and kind.__module__ == module.name:
                yield kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in PRIVATE for name in sorted(PRIVATE[kind])],
)
def test_inherited_name_is_there(kind: type, name: str) -> None:
    """A private name that a class takes from its bases is still theirs."""
    assert name in _names(_foreign(kind)), f"{kind.__name__} leans on {name}"


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in UNDOCUMENTED for name in sorted(UNDOCUMENTED[kind])],
)
def test_undocumented_name_is_there(kind: type, name: str) -> None:
    """A name that no interface promises is still there."""
    assert name in _names(_foreign(kind)), f"{kind.__name__}.{name} is gone"


def test_nothing_else_is_used() -> None:
    """No class uses a private name of its bases that is not listed here, or takes
    one for something else by accident."""
    for kind in _ours():
        private = {
            name
            for name in _names(_foreign(kind))
            if name.startswith("_") and not name.startswith("__")
        }
        used = set(NAME.findall(inspect.getsource(kind))) & private
        assert used <= PRIVATE.get(kind, set()), kind


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("_wrapper", "HAProxyProtocolWrapper"),
        ("_wrapper", "HAProxyWrappingFactory"),
        ("_v1parser", "V1Parser.PROXYSTR"),
        ("_v2parser", "V2Parser.PREFIX"),
    ],
)
def test_proxy_protocol(module: str, name: str) -> None:
    """Twisted's wrapper for the PROXY protocol, and its parsers, are there."""
    found: object = importlib.import_module(f"twisted.protocols.haproxy.{module}")
    for part in name.split("."):
        found = getattr(found, part)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Histogram, "_buckets"),
        (Histogram, "_sum"),
        (Summary, "_count"),
        (Summary, "_sum"),
    ],
)
def test_prometheus_client(kind: type[Histogram] | type[Summary], name: str) -> None:
    """Several observations can be handed over at once."""
    metric = kind("name", "what it is", registry=CollectorRegistry())
    assert hasattr(metric, name)


def test_prometheus_client_names_the_files_of_a_process() -> None:
    """What names a process's files can be given, and is used for new metrics."""
    assert (
        "process_identifier" in inspect.signature(values.MultiProcessValue).parameters
    )
    assert values.ValueClass
