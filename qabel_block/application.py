"""Decides how this process serves."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service

from qabel_block.composition import compose
from qabel_block.config import Config
from qabel_block.control import SignalControl
from qabel_block.service import BlockService
from qabel_block.systemd import Notifier


def make_service(config: Config, reactor: Any) -> Service:
    """Return the service that ``config`` describes.

    :raises CannotListen: if an endpoint is wrongly described.
    """
    control = SignalControl(reactor, Notifier())
    return BlockService(compose(config, reactor), control, config.drain, reactor)
