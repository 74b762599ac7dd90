"""The scenarios of traffic quota over TCP."""

from tests.scenarios.traffic_quota import *  # noqa: F403
