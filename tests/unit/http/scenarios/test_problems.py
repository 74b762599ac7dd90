"""The scenarios of problems in memory."""

from tests.scenarios.problems import *  # noqa: F403
