"""The scenarios of uploads in memory."""

from tests.scenarios.uploads import *  # noqa: F403
