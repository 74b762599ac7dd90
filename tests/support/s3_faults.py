"""What may go wrong with a request to S3; for :class:`S3Proxy`'s orders."""

from __future__ import annotations

import re
import threading
import time
from functools import partial

from tests.support.s3_proxy import Behaviour, Exchange


def refuse(status: int, code: str) -> Behaviour:
    """Answer with an error instead."""
    return partial(Exchange.refuse, status=status, code=code)


def say(status: int, body: bytes = b"", **fields: str) -> Behaviour:
    """Answer this instead, whatever was asked."""

    def behave(exchange: Exchange) -> None:
        content = b"" if exchange.method == "HEAD" else body
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        exchange.answer(status, headers, content)

    return behave


def bad_chunk(exchange: Exchange) -> None:
    """Send the answer's body in a chunk whose size makes no sense."""
    status, headers, _ = exchange.forward()
    exchange.begin_answer(status, {**headers, "Transfer-Encoding": "chunked"}, 0)
    exchange.handler.wfile.write(b"-5\r\nhello")
    exchange.handler.close_connection = True


def hang(until: threading.Event) -> Behaviour:
    """Answer nothing before the event, and nothing after it."""

    def behave(exchange: Exchange) -> None:
        until.wait(120)
        exchange.cut()

    return behave


def late(seconds: float) -> Behaviour:
    """Answer later."""

    def behave(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.answer(*exchange.forward())

    return behave


def cut_request(exchange: Exchange) -> None:
    """Break off in the middle of the request's body (to be ordered early)."""
    exchange.handler.rfile.read(int(exchange.headers["Content-Length"]) // 2)
    exchange.cut()


def cut_answer(exchange: Exchange) -> None:
    """Break off in the middle of the answer's body."""
    status, headers, body = exchange.forward()
    exchange.begin_answer(status, headers, len(body))
    exchange.handler.wfile.write(body[: len(body) // 2])
    exchange.handler.close_connection = True


def lose_answer(exchange: Exchange) -> None:
    """Do what is asked, but never say so."""
    exchange.forward()
    exchange.cut()


def do_and_refuse(status: int, code: str) -> Behaviour:
    """Do what is asked, and say that it failed."""

    def behave(exchange: Exchange) -> None:
        exchange.forward()
        exchange.refuse(status, code)

    return behave


def corrupt_request(exchange: Exchange) -> None:
    """Change a byte of what is stored, and check no digest."""
    body = bytearray(exchange.body)
    body[len(body) // 2] ^= 1
    exchange.body = bytes(body)
    exchange.headers = {
        name: value
        for name, value in exchange.headers.items()
        if name.lower() not in ("content-md5", "x-amz-content-sha256", "authorization")
    }
    exchange.answer(*exchange.forward())


def head(**fields: str | None) -> Behaviour:
    """Change fields of the answer's head, or leave them out."""

    def behave(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        changed = {name.lower(): value for name, value in headers.items()}
        for name, value in fields.items():
            changed.pop(name.replace("_", "-"), None)
            if value is not None:
                changed[name.replace("_", "-")] = value
        exchange.answer(status, changed, body)

    return behave


def ignore_range(exchange: Exchange) -> None:
    """Answer with the whole object, as a store that knows no ranges."""
    exchange.headers = {
        name: value
        for name, value in exchange.headers.items()
        if name.lower() != "range"
    }
    exchange.answer(*exchange.forward())


def instead(pattern: bytes, replacement: bytes) -> Behaviour:
    """Replace what matches in the answer's body."""

    def behave(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.answer(status, headers, re.sub(pattern, replacement, body, flags=re.S))

    return behave


def drip(pieces: int, seconds: float) -> Behaviour:
    """Send the answer's body slowly."""

    def behave(exchange: Exchange) -> None:
        status, headers, body = exchange.forward()
        exchange.begin_answer(status, headers, len(body))
        size = -(-len(body) // pieces)
        for at in range(0, len(body), size):
            exchange.handler.wfile.write(body[at : at + size])
            exchange.handler.wfile.flush()
            time.sleep(seconds)

    return behave
