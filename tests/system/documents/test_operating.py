"""docs/operating.md: an operator runs its commands."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from qabel_block.cli.runner import FINDINGS
from tests.support.checkout import CHECKOUT
from tests.support.documents import CommandsOf, blocks
from tests.support.ports import free_port
from tests.support.shell import Shell, without
from tests.system.documents.excused import BLOCKS, LINES

pytestmark = pytest.mark.xdist_group("documents")

MISSING = [name for name in ("rsync", "openssl") if shutil.which(name) is None]
CHECKS = {"systemd-analyze": "systemd/", "nginx": "nginx/"}
"""By the programs that they need, which not every machine has."""

SETTINGS = """
export QABEL_BLOCK_PSQL_DSN=$DSN QABEL_BLOCK_ACCOUNTS=builtin
export QABEL_BLOCK_LOCAL_STORAGE=/srv/qabel-block
"""


def test_operating(
    installed: Path, reader: Shell, pip_environment: dict[str, str]
) -> None:
    """Each does what the text around it says."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    operating = CommandsOf.document("docs/operating.md", BLOCKS)
    reader.environment.update(pip_environment)
    _install(reader, installed, operating)
    reader.run(SETTINGS)
    _uwsgi(reader, operating)
    headers = {"Authorization": f"Token {_users(reader, operating)}"}
    with reader.serving(operating.take("twist qabel-block --psql-dsn")):
        prefixes = f"{reader.url}/api/v0/prefix/"
        prefix = httpx.post(prefixes, headers=headers).json()["prefix"]
        first = f"{reader.url}/api/v0/files/{prefix}/first"
        assert httpx.put(first, content=b"1", headers=headers).status_code == 204
        assert httpx.get(first).headers["X-Accel-Redirect"].startswith("/blobs/")
    _nightly(reader, installed, operating)
    _backup(reader, operating)
    with reader.serving("twist qabel-block"):
        assert httpx.get(first).content == b"1"
        last = f"{reader.url}/api/v0/files/{prefix}/last"
        assert httpx.put(last, content=b"2", headers=headers).status_code == 204
    _fail_over(reader, operating)
    logging = reader.folder / "logging.json"
    logging.write_text(_logging_configuration())
    with reader.serving(f"twist qabel-block --logging-config {logging}") as printed:
        assert httpx.get(last).content == b"2"
    assert "GET /api" not in printed.read_text()
    assert '"time"' not in printed.read_text()
    _standalone(reader.folder / "other", operating)
    assert operating.left == []


def _logging_configuration() -> str:
    """Return the one that leaves requests out and writes text."""
    found = (block.text for block in blocks(CHECKOUT / "docs/operating.md"))
    return next(text for text in found if text.startswith('{"formatters"'))


def _install(shell: Shell, clone: Path, operating: CommandsOf) -> None:
    """Install and upgrade, with systemd's directories elsewhere."""
    etc = shell.folder / "etc"
    (etc / "systemd/system").mkdir(parents=True)
    shell.instead["/etc/"] = f"{etc}/"
    (shell.folder / "opt").symlink_to(clone / ".venv")
    edit = shell.folder / "edit.sh"
    edit.write_text('echo "QABEL_BLOCK_PSQL_DSN=\\"$DSN\\"" >> "$1"\n')
    shell.environment["EDITOR"] = f"sh {edit}"
    # Except for the first line, which is that of the README's first command.
    install = operating.take("python3 -m venv /opt").partition("\n")[2]
    first = without(install, LINES)
    assert "is at revision" in shell.run(first, folder=clone)
    assert {path.name for path in (etc / "systemd/system").iterdir()} == {
        "qabel-block.service",
        "qabel-block.socket",
    }
    assert (etc / "qabel-block/environment").stat().st_mode & 0o777 == 0o600
    upgrade = without(operating.take("/opt/qabel-block/bin/pip"), LINES)
    assert "was at revision" in shell.run(upgrade, folder=clone)


def _uwsgi(shell: Shell, operating: CommandsOf) -> None:
    """Serve from uWSGI, which is in another environment than the server."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    command = operating.take("uwsgi").replace("python3.11", version).strip()
    with shell.serving(f"{command} --binary-path /opt/qabel-block/bin/python"):
        pass


def _users(shell: Shell, operating: CommandsOf) -> str:
    """Make users and tokens, delete one, and return the other's token."""
    said = shell.run(operating.take("qabel-block user add alice"))
    assert "laptop" in shell.run(operating.take("TOKEN="), answers="yes\n")
    (token,) = re.findall(r"\bqb_[\w-]+", said)
    return str(token)


def _nightly(shell: Shell, clone: Path, operating: CommandsOf) -> None:
    """Install the check of each night, and acknowledge what it finds."""
    install = without(operating.take("install -m 0644 deploy"), LINES)
    shell.run(install, folder=clone)
    units = shell.folder / "etc/systemd/system"
    assert len(list(units.glob("qabel-block-verify.*"))) == 2
    stray = shell.folder / "srv/nobodys/a"
    stray.parent.mkdir()
    stray.touch()
    # Not with the example's environment, which is that of another machine.
    remember = operating.take("qabel-block verify --env-file").replace(
        "--env-file /etc/qabel-block/environment ", ""
    )
    assert "1 known" in shell.run(remember)
    assert (shell.folder / "etc/qabel-block/known").read_text() == "nobodys\n"
    shutil.rmtree(stray.parent)


def _backup(shell: Shell, operating: CommandsOf) -> None:
    """Back up, lose ledger and storage, and restore them."""
    shell.run(operating.take("rsync -a --exclude"))
    shell.run('dropdb -h "$DB_HOST" -U "$DB_USER" "$DB" && rm -r /srv/qabel-block')
    shell.run(operating.take("rsync -a /backup"))


def _fail_over(shell: Shell, operating: CommandsOf) -> None:
    """Lose the last commit, as a standby may that is made the primary, and put
    ledger and storage right."""
    shell.run('pg_restore --clean --no-owner -d "$DSN" /backup/ledger.dump')
    said = shell.run(operating.take("qabel-block verify --no-read"), status=FINDINGS)
    assert "unknown" in said
    shell.run(operating.take("qabel-block rebuild"))
    shell.run(operating.take("qabel-block verify --repair"))


def _standalone(folder: Path, operating: CommandsOf) -> None:
    """Serve with TLS, back up and restore what the server has, and let systemd and
    nginx look at what is for them."""
    folder.mkdir()
    port = str(free_port())
    shell = Shell(folder, {"8443": port, "/backup": f"{folder}/backup"})
    (folder / "backup").mkdir()
    certificate, serve, ask = re.split(
        r"^(?=twist|curl)", operating.take("openssl"), flags=re.MULTILINE
    )
    shell.run(certificate)
    listens_itself = "unset QABEL_BLOCK_ADDRESS QABEL_BLOCK_PORT\n"
    with shell.serving(listens_itself + serve):
        shell.run(ask)
    shell.run(operating.take("qabel-block backup"))
    shutil.rmtree(folder / "data")
    shell.run(operating.take("cp -a"))
    for program, check in CHECKS.items():
        command = operating.take(f"python -m pytest -n 0 deploy/{check}")
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
            shell.run(command, folder=CHECKOUT)
