"""The scenarios of state machine over TCP."""

from tests.scenarios.state_machine import *  # noqa: F403
