"""The scenarios of state machine in memory."""

from tests.scenarios.state_machine import *  # noqa: F403
