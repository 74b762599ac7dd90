"""The scenarios of real clients in memory."""

from tests.scenarios.real_clients import *  # noqa: F403
