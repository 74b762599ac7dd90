"""Parts of URLs that are of PROTOCOL's grammar; anything else is 404."""

from __future__ import annotations

from werkzeug.routing import BaseConverter

from qabel_block.names import PATH_LIMIT, PATH_PATTERN, PREFIX_PATTERN


class PrefixConverter(BaseConverter):
    """A prefix."""

    regex = PREFIX_PATTERN


class PathConverter(BaseConverter):
    """The path of an object below its prefix: one or more segments, at the end
    of the URL."""

    regex = rf"(?=.{{1,{PATH_LIMIT}}}$){PATH_PATTERN}"
    part_isolating = False
