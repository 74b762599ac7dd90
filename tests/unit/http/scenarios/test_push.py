"""The scenarios of push in memory."""

from tests.scenarios.push import *  # noqa: F403
