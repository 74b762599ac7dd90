"""Gives a command the server's whole configuration, without starting anything."""

from __future__ import annotations

import os
from argparse import Namespace

from twisted.python.usage import UsageError

from qabel_block.cli.arguments import typed_options
from qabel_block.cli.runner import CommandFailed
from qabel_block.config.command_line import Options
from qabel_block.config.config import Config
from qabel_block.config.from_options import configure


def server_config(arguments: Namespace) -> Config:
    """Return what the server would do with these options and this environment.

    :raises CommandFailed: if it would refuse them.
    """
    options = Options(os.environ)
    try:
        options.read(typed_options(arguments))
    except UsageError as error:
        raise CommandFailed(str(error)) from None
    return configure(options)
