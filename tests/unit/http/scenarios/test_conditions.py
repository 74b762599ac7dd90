"""The scenarios of conditions in memory."""

from tests.scenarios.conditions import *  # noqa: F403
