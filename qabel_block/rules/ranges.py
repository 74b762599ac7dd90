"""Byte ranges, decided purely (RFC 9110 section 14)."""

from __future__ import annotations

import re

from attrs import frozen
from werkzeug.http import parse_range_header

from qabel_block.errors import RangeNotSatisfiable

_EMPTY_SUFFIX = re.compile(r"bytes[ \t]*=[ \t]*-0+[ \t]*", re.IGNORECASE | re.ASCII)
_LONG_NUMBER = re.compile(r"[0-9]{19,}")


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
    :return: ``None`` for the whole object: without a header, for what may be
        ignored (another unit, a malformed value, several ranges), and for a range
        from the beginning of an empty object, which has no bytes to number.
    :raises RangeNotSatisfiable: if the range lies outside the object.
    """
    if header is None:
        return None
    if _EMPTY_SUFFIX.fullmatch(header):
        # Well-formed, though werkzeug takes it for malformed.
        raise RangeNotSatisfiable(size)
    asked = parse_range_header(_LONG_NUMBER.sub(_shortened, header))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return None
    first, stop = asked.ranges[0]
    start = max(size + first, 0) if first < 0 else first
    if size == start == 0:
        return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return ByteRange(start, (size if stop is None else min(stop, size)) - start, size)


def _shortened(number: re.Match[str]) -> str:
    """Return a number that Python converts, beyond any object if the number is."""
    return number[0].lstrip("0")[:19] or "0"
