"""The scenarios of traffic quota in memory."""

from tests.scenarios.traffic_quota import *  # noqa: F403
