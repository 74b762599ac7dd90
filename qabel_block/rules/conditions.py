"""Conditional requests on entity tags, decided purely (RFC 9110 section 13).

There are no modification dates in this protocol, so of the five conditional
headers only ``If-Match``, ``If-None-Match`` and ``If-Range`` can ever hold.
"""

from __future__ import annotations

from attrs import frozen
from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags

from qabel_block.errors import PreconditionFailed


@frozen
class Conditions:
    """What a request asks of the object as it is now.

    An entity tag is accepted with and without its quotes (PROTOCOL section 2),
    since clients keep it as an opaque string.
    """

    if_match: ETags | None
    if_none_match: ETags | None

    @classmethod
    def parse(cls, if_match: str | None, if_none_match: str | None) -> Conditions:
        """Read the two headers' values; ``None`` where there is no header."""
        return cls(_parse(if_match), _parse(if_none_match))

    def check_change(self, etag: str | None) -> None:
        """Allow a change of an object with this ETag.

        :param etag: the object's quoted ETag, ``None`` if there is no object.
        :raises PreconditionFailed: if a condition does not hold.
        """
        if not self._may_match(etag) or self._matches_none_of(etag):
            raise PreconditionFailed(etag)

    def check_read(self, etag: str) -> bool:
        """Allow to read an object with this ETag.

        :return: whether the client has this version already and is to be told
            so with 304.
        :raises PreconditionFailed: if ``If-Match`` does not hold.
        """
        if not self._may_match(etag):
            raise PreconditionFailed(etag)
        return self._matches_none_of(etag)

    def _may_match(self, etag: str | None) -> bool:
        if self.if_match is None:
            return True
        return etag is not None and self.if_match.contains(_opaque(etag))

    def _matches_none_of(self, etag: str | None) -> bool:
        # The weak comparison of RFC 9110 section 13.1.2: W/"x" matches "x".
        if self.if_none_match is None or etag is None:
            return False
        return self.if_none_match.contains_weak(_opaque(etag))


UNCONDITIONAL = Conditions(None, None)


def if_range_holds(header: str | None, etag: str) -> bool:
    """Say whether ``If-Range`` lets ``Range`` apply (RFC 9110 section 13.1.5).

    It does if there is no such header, or if it names the object's ETag in the
    strong comparison. A date never matches: there is no ``Last-Modified``.
    """
    return header is None or header.strip().strip('"') == _opaque(etag)


def _parse(header: str | None) -> ETags | None:
    return None if header is None else parse_etags(header.strip())


def _opaque(etag: str) -> str:
    return etag.strip('"')
