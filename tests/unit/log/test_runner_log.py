"""The log of ``twist`` itself, where it stays in charge."""

from __future__ import annotations

import io

import pytest
from twisted.application.twist._options import TwistOptions
from twisted.logger import LogLevel

from qabel_block.config.command_line import Options
from qabel_block.config.from_options import configure
from qabel_block.log.setup import set_up_logging


@pytest.mark.parametrize(
    ("words", "level"), [(["--debug"], LogLevel.debug), ([], LogLevel.info)]
)
def test_debug(words: list[str], level: object) -> None:
    """``--debug`` is heeded in the file that ``twist`` was told to log to."""
    runner = TwistOptions()
    runner["logFile"], runner["logLevel"] = io.StringIO(), LogLevel.info
    options = Options({})
    options.read(["--dummy", *words])
    assert not set_up_logging(configure(options).log, runner)
    assert runner["logLevel"] == level
