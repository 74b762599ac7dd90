"""The scenarios of storage quota in memory."""

from tests.scenarios.storage_quota import *  # noqa: F403
