"""docs/restic.md: a user and an operator run its commands."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.documents import CommandsOf
from tests.support.restic import require_restic
from tests.support.shell import Shell
from tests.system.documents.excused import BLOCKS

SETTINGS = "export QABEL_BLOCK_STANDALONE=$PWD/data"
TOKEN = re.compile(r"\bqb_[\w-]+")


def test_restic(tmp_path: Path) -> None:
    """Each does what the text around it says."""
    require_restic()
    restic = CommandsOf.document("docs/restic.md", BLOCKS)
    shell = Shell(tmp_path)
    (full,) = TOKEN.findall(shell.run(f"{SETTINGS}\nqabel-block user add alice"))
    address = f"localhost:{shell.port}"
    shell.instead |= {
        "USER:TOKEN@HOST:8888": f"alice:{full}@{address}",
        "https://alice:FULL-TOKEN@HOST": f"http://alice:{full}@{address}",
        "https://alice:TOKEN@HOST": f"http://alice:{full}@{address}",
        "/mnt/old": f"{tmp_path}/old",
    }
    # What stands for 8888 must not be looked for before these.
    shell.instead["8888"] = shell.instead.pop("8888")
    (tmp_path / ".restic-password").write_text("secret")
    (tmp_path / "Documents").mkdir()
    (tmp_path / "Documents/letter").write_text("Dear restic,")
    with shell.serving("twist qabel-block"):
        said = shell.run(restic.take("export RESTIC_REPOSITORY"))
        assert re.search("snapshot [0-9a-f]+ saved", said)
        said = shell.run(restic.take("qabel-block token add"))
        (append_only,) = TOKEN.findall(said)
        repository = f"rest:http://alice:{append_only}@{address}/restic/laptop/"
        shell.run(f"restic backup -r {repository} ~/Documents")
        forget = restic.take("restic -r rest:https://alice:FULL-TOKEN")
        refused = re.sub(r"rest:\S+", repository, forget)
        assert "Not allowed with this token" in shell.run(refused, status=1)
        shell.run(forget)
        shell.run(restic.take("restic unlock"))
        said = shell.run(restic.take("qabel-block repository list"), answers="yes\n")
        assert "laptop" in said
        shell.run("restic init -r /mnt/old && restic backup -r /mnt/old ~/Documents")
        shell.run("export RESTIC_FROM_PASSWORD_FILE=~/.restic-password")
        assert "snapshot" in shell.run(
            restic.take("restic -r rest:https://alice:TOKEN")
        )
    assert restic.left == []
