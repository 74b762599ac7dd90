"""The scenarios of uploads over TCP."""

from tests.scenarios.uploads import *  # noqa: F403
