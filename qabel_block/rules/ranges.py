"""Byte ranges, decided purely (RFC 9110 section 14)."""

from __future__ import annotations

import re

from attrs import frozen

from qabel_block.errors import RangeNotSatisfiable

_SINGLE = re.compile(r"bytes[ \t]*=[ \t]*(\d*)-(\d*)[ \t]*", re.IGNORECASE | re.ASCII)
_DIGITS = 19
"""More digits than an offset can have are not worth converting."""


@frozen
class ByteRange:
    """``length`` bytes from offset ``start``, of an object of ``size`` bytes."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of ``Content-Range``."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def select_range(header: str | None, size: int) -> ByteRange | None:
    """Return the part of an object that a ``Range`` header asks for.

    :param header: the header's value, or ``None``.
    :param size: the object's size in bytes.
    :return: ``None`` for the whole object: without a header, and for what may
        be ignored: another unit, a malformed value, several ranges.
    :raises RangeNotSatisfiable: if the range lies outside the object.
    """
    match = _SINGLE.fullmatch(header) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1].lstrip("0"), match[2].lstrip("0")
    if match[1] == "":
        return _suffix(min(_number(last), size), size)
    start = _number(first)
    end = _number(last) if match[2] else size - 1
    if match[2] and end < start:
        return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, min(end, size - 1) - start + 1, size)


def _suffix(length: int, size: int) -> ByteRange:
    if length == 0:
        raise RangeNotSatisfiable(size)
    return ByteRange(size - length, length, size)


def _number(digits: str) -> int:
    return int(digits[:_DIGITS] or "0")
