"""The scenarios of downloads in memory."""

from tests.scenarios.downloads import *  # noqa: F403
