"""The scenarios of prefixes in memory."""

from tests.scenarios.prefixes import *  # noqa: F403
