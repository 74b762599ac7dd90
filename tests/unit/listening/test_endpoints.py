"""What endpoint descriptions ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory

from qabel_block.listening.endpoints import BACKLOG, Tcp, Unix, plan
from tests.support.certificates import make_certificate


@pytest.mark.parametrize("kind", ["tcp", "haproxy:tcp", "tcp6", "ssl", "unix"])
@pytest.mark.parametrize("given", [None, 7])
def test_backlog(kind: str, given: int | None, tmp_path: Path) -> None:
    """As many connections wait as with --port, unless the description says how many."""
    address = str(tmp_path / "socket") if kind == "unix" else "0"
    description = f"{kind}:{address}"
    if kind == "ssl":
        certificate, key = make_certificate(tmp_path)
        description += f":privateKey={key}:certKey={certificate}"
    if given is not None:
        description += f":backlog={given}"
    found = plan(reactor, description, Factory()).address
    assert isinstance(found, Tcp | Unix)
    assert found.backlog == (BACKLOG if given is None else given)
    assert BACKLOG == 1024
