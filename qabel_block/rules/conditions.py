"""Conditional requests, decided purely (RFC 9110 section 13).

Dates count in whole seconds. An object of which it is not known when it was made has
no modification date; conditions on that are ignored then.
"""

from __future__ import annotations

import re

from attrs import frozen
from werkzeug.datastructures import ETags
from werkzeug.http import parse_date, parse_etags, parse_if_range_header, unquote_etag

from qabel_block.errors import PreconditionFailed

_QUOTED = re.compile(r'"[^"]*"')


@frozen
class Conditions:
    """What a request asks of the object as it is now.

    An entity tag is accepted with and without its quotes (PROTOCOL section 2),
    since clients keep it as an opaque string.

    :ivar if_modified_since: seconds since 1970.
    :ivar if_unmodified_since: seconds since 1970.
    """

    if_match: ETags | None = None
    if_none_match: ETags | None = None
    if_modified_since: float | None = None
    if_unmodified_since: float | None = None

    @classmethod
    def parse(
        cls,
        if_match: str | None,
        if_none_match: str | None,
        if_modified_since: str | None = None,
        if_unmodified_since: str | None = None,
    ) -> Conditions:
        """Read the headers' values; ``None`` where there is no header."""
        return cls(
            _etags(if_match),
            _etags(if_none_match),
            parse_http_date(if_modified_since),
            parse_http_date(if_unmodified_since),
        )

    def check_change(self, etag: str | None, modified: int | None = None) -> None:
        """Allow a change of an object with this ETag.

        ``If-Modified-Since`` means nothing here (RFC 9110 section 13.1.3).

        :param etag: the object's quoted ETag, ``None`` if there is no object.
        :param modified: when the object was made, in seconds since 1970.
        :raises PreconditionFailed: if a condition does not hold.
        """
        if not self._may_match(etag, modified) or self._matches_none_of(etag):
            raise PreconditionFailed(etag)

    def check_read(self, etag: str, modified: int | None = None) -> bool:
        """Allow to read an object with this ETag.

        :param modified: when the object was made, in seconds since 1970.
        :return: whether the client has this version already and is to be told
            so with 304.
        :raises PreconditionFailed: if ``If-Match`` or ``If-Unmodified-Since`` does
            not hold.
        """
        if not self._may_match(etag, modified):
            raise PreconditionFailed(etag)
        if self.if_none_match is not None:
            return self._matches_none_of(etag)
        since = self.if_modified_since
        return since is not None and modified is not None and modified <= since

    def _may_match(self, etag: str | None, modified: int | None) -> bool:
        if self.if_match is not None:
            return etag is not None and self.if_match.contains(_opaque(etag))
        since = self.if_unmodified_since
        return since is None or modified is None or modified <= since

    def _matches_none_of(self, etag: str | None) -> bool:
        # The weak comparison of RFC 9110 section 13.1.2: W/"x" matches "x".
        if self.if_none_match is None or etag is None:
            return False
        return self.if_none_match.contains_weak(_opaque(etag))


UNCONDITIONAL = Conditions()


def if_range_holds(header: str | None, etag: str) -> bool:
    """Say whether ``If-Range`` lets ``Range`` apply (RFC 9110 section 13.1.5).

    It does if there is no such header, or if it names the object's ETag in the
    strong comparison. A date never does: there may have been another version in the
    same second, and so it is no strong validator (section 8.8.2.2).
    """
    if header is None:
        return True
    header = header.strip()
    _, weak = unquote_etag(header)
    return not weak and parse_if_range_header(header).etag == _opaque(etag)


def parse_http_date(header: str | None) -> float | None:
    """Return a date of HTTP (RFC 9110 section 5.6.7) in seconds since 1970.

    :return: ``None`` for what is no date, which is to be ignored.
    """
    if header is None or header.count(",") > 1:  # more than one date
        return None
    try:
        date = parse_date(header)
        return None if date is None else date.timestamp()
    except (OverflowError, ValueError):  # a time zone or a year beyond all bounds
        return None


def _etags(header: str | None) -> ETags | None:
    if header is None:
        return None
    # In a list, as of two lines, the star is no less one: nobody who asks for a
    # creation wants to replace something.
    if "*" in _QUOTED.sub("", header).replace(",", " ").split():
        return ETags(star_tag=True)
    return parse_etags(header.strip())


def _opaque(etag: str) -> str:
    return etag.strip('"')
