"""The scenarios of conditions over TCP."""

from tests.scenarios.conditions import *  # noqa: F403
