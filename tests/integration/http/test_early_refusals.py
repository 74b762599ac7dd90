"""The scenarios of early refusals over TCP."""

from tests.scenarios.early_refusals import *  # noqa: F403
