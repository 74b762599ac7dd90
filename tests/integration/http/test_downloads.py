"""The scenarios of downloads over TCP."""

from tests.scenarios.downloads import *  # noqa: F403
