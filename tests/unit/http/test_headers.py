"""Headers that several handlers read."""

from __future__ import annotations

from unittest.mock import Mock

from twisted.web.http_headers import Headers

from qabel_block.http.headers import accepted


def test_blanks_in_accept() -> None:
    """What a parser is given that takes quadratic time for runs of blanks has none."""
    lines = [b"x" + b" " * 9000 + b"y", b"a/b" + b"\t " * 9000 + b";  q=0.5"]
    request = Mock(requestHeaders=Headers({b"Accept": lines}))
    assert accepted(request) == "x y, a/b ; q=0.5"
    assert accepted(Mock(requestHeaders=Headers())) is None
