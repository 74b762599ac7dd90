"""The scenarios of paths in memory."""

from tests.scenarios.paths import *  # noqa: F403
