"""README.md: a reader runs its commands one after the other."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import httpx
import pytest

from tests.support.documents import CommandsOf
from tests.support.s3 import Store
from tests.support.shell import Shell
from tests.system.documents.excused import BLOCKS

pytestmark = pytest.mark.xdist_group("documents")


def test_readme(
    installed: Path,
    reader: Shell,
    moto: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each does what the text around it says."""
    readme = CommandsOf.document("README.md", BLOCKS)
    _try(Shell(installed.parent), installed, readme)
    _push(Shell(tmp_path_factory.mktemp("push")), readme.take("import json"))
    first, second = readme.take("qabel-block migrate"), readme.take("twist qabel-block")
    assert "is at revision" in reader.run(first)
    with reader.serving(second):
        answer = httpx.get(f"{reader.url}/readyz").json()
        assert not answer.get("degraded")
    _s3(reader, readme.take("AWS_ACCESS_KEY_ID="), moto)
    assert readme.left == []


def _try(shell: Shell, clone: Path, readme: CommandsOf) -> None:
    """Make a user, serve, and use the server with curl and restic."""
    first = readme.take("python3 -m venv .venv && ")  # the tests' is excused
    shell.environment.pop("PYTHONPATH")
    with shell.serving("cd clone && {" + first.partition(" && {")[2]) as printed:
        token = re.findall(r"\bqb_[\w-]+", printed.read_text())[0]
        requests = readme.take("TOKEN=qb_...").replace("qb_...", token)
        said = shell.run(requests, folder=clone)
        assert said.endswith((clone / "README.md").read_text())
        backup = readme.take("export RESTIC_REPOSITORY")
        if shutil.which("restic"):
            documents = shell.folder / "Documents"
            documents.mkdir()
            (documents / "letter").write_text("Dear restic,")
            assert re.search("snapshot [0-9a-f]+ saved", shell.run(backup))


def _s3(shell: Shell, command: str, store: Store) -> None:
    """Serve from a bucket."""
    for name, value in store.environment.items():
        command = command.replace(f"{name}=...", f"{name}={value}")
    shell.instead["--s3-bucket qabel"] = f"--s3-bucket {store.new_bucket().name}"
    shell.environment["QABEL_BLOCK_S3_ENDPOINT_URL"] = store.endpoint_url
    with shell.serving(command):
        pass


def _push(shell: Shell, program: str) -> None:
    """Let the example hear of an upload."""
    serve = "twist qabel-block --standalone ./data --dummy-auth MAGICFARYDUST"
    upload = (
        "curl -H 'Authorization: Token MAGICFARYDUST' --data-binary x"
        " http://localhost:8888/api/v0/files/test/a"
    )
    with shell.serving(serve):
        shell.run(
            f"timeout 60 python -u -c {shlex.quote(program)} > events &\n"
            f"until grep -q 'POST test/a' events; do {upload}; sleep 0.05; done\n"
            "kill $!"
        )
