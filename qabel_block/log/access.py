"""One line for each request.

This is written for every request that is answered, so it is made to cost little:
nothing is looked up that the site does not have anyway, and nothing is put into
words that nobody wants to read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from json.encoder import encode_basestring_ascii

from twisted.logger import Logger

NAME = "qabel_block.access"

log = Logger(NAME)

WriteAccess = Callable[["AccessRecord"], None]
"""Takes note of a request that has ended."""


_COMMON: dict[str, object] = {
    **dict.fromkeys(("args", "exc_info", "exc_text", "funcName", "stack_info")),
    **dict.fromkeys(("filename", "module", "msg", "pathname"), ""),
    **dict.fromkeys(("taskName", "thread")),
    "levelname": "INFO",
    "levelno": logging.INFO,
    "lineno": 0,
    "name": NAME,
    "processName": "MainProcess",
    "relativeCreated": 0.0,
    "threadName": "MainThread",
}
"""What Python's logging expects of a record, as far as it is always the same."""


class AccessRecord(logging.LogRecord):
    """What is said of a request. There is no header and no query in it.

    The attributes of other records are there as well, so that any formatter and
    any filter of Python's logging gets along with it.

    :param created: seconds since 1970.
    :param path: as it was asked for.
    :param status: what was answered, or
        :data:`~qabel_block.http.transport.interfaces.CLIENT_GONE`.
    :param sent: bytes of the answer's body.
    :param seconds: from the request's head to the end of the answer.
    :param user_id: who asked, if that is known.
    :param client: the address from which was asked.
    :param cut: whether the connection ended before the answer did.
    """

    def __init__(
        self,
        created: float,
        method: str,
        path: str,
        status: int,
        sent: int,
        seconds: float,
        user_id: int | None,
        request_id: str,
        client: str,
        cut: bool,
    ) -> None:
        # Not the base's, which would ask for threads, tasks and files.
        self.__dict__.update(_COMMON)
        self.created = created
        self.msecs = created % 1 * 1000
        self.process = os.getpid()
        self.method = method
        self.path = path
        self.status = status
        self.sent = sent
        self.milliseconds = seconds * 1000
        self.user_id = user_id
        self.request_id = request_id
        self.client = client
        self.cut = cut

    def getMessage(self) -> str:
        """Return it in words. What has anything odd in it is quoted."""
        user = "-" if self.user_id is None else self.user_id
        return (
            f"{_readable(self.method)} {_readable(self.path)} {self.status}"
            f" {self.sent} B {self.milliseconds:.1f} ms user={user}"
            f" client={self.client} request={self.request_id}"
            f"{' cut' if self.cut else ''}"
        )

    def json_fields(self) -> str:
        """Return the inside of a JSON object."""
        # A method and a path are all that a client can put anything into.
        method, path = _quoted(self.method), _quoted(self.path)
        user = "null" if self.user_id is None else self.user_id
        return (
            f'"message":"{method[1:-1]} {path[1:-1]} {self.status}","method":{method},'
            f'"path":{path},"status":{self.status},"bytes":{self.sent},'
            f'"ms":{self.milliseconds:.1f},"user":{user},"client":"{self.client}",'
            f'"request":{_quoted(self.request_id)}{_CUT if self.cut else ""}'
        )


_CUT = ',"cut":true'
_quoted: Callable[[str], str] = encode_basestring_ascii


def _readable(text: str) -> str:
    return text if text.isprintable() else _quoted(text)


def write_to_python(logger: logging.Logger) -> WriteAccess:
    """Return what gives records to Python's logging."""

    def write(record: AccessRecord) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.handle(record)

    return write


def write_to_twisted(record: AccessRecord) -> None:
    """Give a record to Twisted's log, wherever that goes."""
    log.info("{access}", access=record.getMessage(), log_record=record)
