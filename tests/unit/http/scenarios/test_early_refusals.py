"""The scenarios of early refusals in memory."""

from tests.scenarios.early_refusals import *  # noqa: F403
