"""Parts of URLs that are of PROTOCOL's grammar; anything else is 404."""

from __future__ import annotations

from werkzeug.routing import BaseConverter, ValidationError

from qabel_block.names import PATH_LIMIT, PATH_PATTERN, PREFIX_PATTERN


class PrefixConverter(BaseConverter):
    """A prefix."""

    regex = PREFIX_PATTERN


class PathConverter(BaseConverter):
    """The path of an object below its prefix: one or more segments."""

    regex = PATH_PATTERN
    part_isolating = False

    def to_python(self, value: str) -> str:
        """Return the path as it is, if it is not too long."""
        if len(value) > PATH_LIMIT:
            raise ValidationError
        return value
