"""The scenarios of storage quota over TCP."""

from tests.scenarios.storage_quota import *  # noqa: F403
