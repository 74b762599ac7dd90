"""The scenarios of paths over TCP."""

from tests.scenarios.paths import *  # noqa: F403
