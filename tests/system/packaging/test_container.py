"""deploy/container: what its files say is there, and works without an engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qabel_block.config.environment import given_in_environment
from qabel_block.config.option import PREFIX
from qabel_block.config.options import BY_NAME
from tests.support.checkout import CHECKOUT
from tests.support.s3 import Store
from tests.support.server import ServerProcess
from tests.support.tools import run_tool

FOLDER = CHECKOUT / "deploy/container"
CONTAINERFILE = FOLDER / "Containerfile"
SECRETS = {
    "POSTGRES_PASSWORD": "pass word",
    "S3_SECRET_KEY": "s3-secret",
    "QABEL_BLOCK_DUMMY_AUTH": "T",
}
_VARIABLE = re.compile(r"\$\{(\w+):([?-])([^}]*)\}")


def _instructions(name: str) -> list[str]:
    """Return the arguments of each instruction of this name."""
    lines = CONTAINERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{name} ")]


def _compose(given: dict[str, str]) -> dict[str, Any]:
    """Return compose.yaml, with variables replaced as compose does it."""

    def value(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        return given[name] if kind == "?" else given.get(name) or default

    def replaced(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: replaced(each) for key, each in node.items()}
        if isinstance(node, list):
            return [replaced(each) for each in node]
        return _VARIABLE.sub(value, node) if isinstance(node, str) else node

    return dict(replaced(yaml.safe_load((FOLDER / "compose.yaml").read_text())))


def _built(folder: Path, source: Path, variables: dict[str, str]) -> set[str]:
    """Build a wheel with these variables; return what is in it."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder)]
    environment = {**os.environ, **variables}
    subprocess.run(
        [*command, str(source)],
        check=True,
        capture_output=True,
        timeout=300,
        env=environment,
    )
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_what_is_copied_is_enough(
    tmp_path: Path, own_wheel: Path, pip_environment: dict[str, str]
) -> None:
    """What is copied into the image builds the wheel that a checkout builds, and
    .dockerignore lets it through."""
    source = tmp_path / "source"
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    for instruction in _instructions("COPY"):
        if instruction.startswith("--from="):
            continue
        *names, target = instruction.split()
        for name in names:
            assert f"!{name}" in ignored
            place = source / target
            if (CHECKOUT / name).is_dir():
                shutil.copytree(CHECKOUT / name, place)
            else:
                place.mkdir(exist_ok=True)
                shutil.copy(CHECKOUT / name, place)
    copied = _built(tmp_path / "one", source, pip_environment)
    assert copied == set(zipfile.ZipFile(own_wheel).namelist())


def test_image_runs_as_nobody() -> None:
    """The image runs the server as a user who is not root, on all addresses."""
    assert _instructions("USER") == ["10001:10001"]
    # The owner of what is copied is root unless it is named.
    assert "--from=build --chown=10001:10001 /data /data" in _instructions("COPY")
    assert _instructions("ENTRYPOINT") == ['["twist", "qabel-block"]']
    variables = dict(
        pair.split("=", 1)
        for line in _instructions("ENV")
        for pair in shlex.split(line)
        if pair.startswith(PREFIX)
    )
    assert variables == {"QABEL_BLOCK_ADDRESS": "0.0.0.0"}
    assert BY_NAME["port"].default == "8888"
    assert _instructions("EXPOSE") == ["8888"]


def test_compose_is_complete() -> None:
    """All services, volumes and files that are named are there, all options exist,
    and the example has all variables."""
    compose = _compose(SECRETS)
    services = compose["services"]
    options = {option.variable: option for option in BY_NAME.values()}
    for service in services.values():
        assert services.keys() >= set(service.get("depends_on", ()))
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in compose["volumes"]
        for file in service.get("configs", ()):
            assert file["source"] in compose["configs"]
        for name, value in service.get("environment", {}).items():
            if name.startswith(PREFIX):
                given = given_in_environment(options[name], {name: value})
                assert given is None or options[name].value_of(given)
        if "build" in service:
            build = service["build"]
            context = (FOLDER / build["context"]).resolve()
            assert context / build["dockerfile"] == CONTAINERFILE
    example = (FOLDER / "env.example").read_text()
    for name, _, _ in _VARIABLE.findall((FOLDER / "compose.yaml").read_text()):
        assert re.search(rf"^#?{name}=\S", example, re.MULTILINE)


@pytest.fixture
def environment(
    new_postgres_database: Callable[[], str],
    redis_address: tuple[str, int],
    moto: Store,
) -> dict[str, str]:
    """What differs when the services run here and not in containers."""
    host, port = redis_address
    return {
        **moto.environment,
        "QABEL_BLOCK_PSQL_DSN": new_postgres_database(),
        "QABEL_BLOCK_REDIS_HOST": host,
        "QABEL_BLOCK_REDIS_PORT": str(port),
        "QABEL_BLOCK_S3_ENDPOINT_URL": moto.endpoint_url,
        "QABEL_BLOCK_S3_BUCKET": "composed",
    }


def test_compose_works(environment: dict[str, str]) -> None:
    """Migration and bucket are made by what compose runs for it, twice without
    harm, and then the server works with the environment that it gives it."""
    services = _compose(SECRETS)["services"]
    migration, bucket = services["migration"], services["bucket"]
    for _ in range(2):
        program, *words = migration["entrypoint"]
        assert program == "qabel-block"
        given = {**migration["environment"], **environment}
        assert run_tool(*words, environment=given).status == 0
        program, *words = bucket["entrypoint"]
        assert program == "python"
        subprocess.run(
            [sys.executable, *words],
            check=True,
            env={**os.environ, **bucket["environment"], **environment},
            timeout=60,
        )
    given = {**services["block"]["environment"], **environment}
    with ServerProcess(environment=given) as server:
        url = f"{server.url}/api/v0/files/p/a"
        headers = {"Authorization": "Token T"}
        assert httpx.put(url, content=b"x", headers=headers).status_code == 204
        assert httpx.get(url).content == b"x"
        assert httpx.get(f"{server.url}/readyz").status_code == 200
