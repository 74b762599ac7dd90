"""The scenarios of requests at the same time in memory."""

from tests.scenarios.concurrency import *  # noqa: F403
