"""The scenarios of problems over TCP."""

from tests.scenarios.problems import *  # noqa: F403
