"""docs/protocol.md: the author of a client runs its commands."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.documents import CommandsOf
from tests.support.shell import Shell

FAILED_REQUEST = 22
"""curl's status."""


def test_protocol(tmp_path: Path) -> None:
    """Each request is answered as the text says."""
    protocol = CommandsOf.document("docs/protocol.md")
    shell = Shell(tmp_path)
    shutil.copy(CHECKOUT / "README.md", tmp_path)
    with shell.serving(protocol.take("twist")):
        said = shell.run(protocol.take("curl -H"))
        assert (CHECKOUT / "README.md").read_text() in said
        said = shell.run(protocol.take("curl -i"), status=FAILED_REQUEST)
        assert "204 No Content" in said
        assert "error: 412" in said
    assert protocol.left == []
