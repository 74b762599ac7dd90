"""The scenarios of prefixes over TCP."""

from tests.scenarios.prefixes import *  # noqa: F403
