"""The real servers that tests run against, each started when first needed."""

from tests.support.postgres import *  # noqa: F403
