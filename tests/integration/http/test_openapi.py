"""The API's description (OpenAPI 3.1) says what the server does, and all of it."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from qabel_block import __version__, names
from qabel_block.http import openapi
from qabel_block.http.problems import STATUS_LINES
from qabel_block.http.routes import BlockAPI
from tests.support.server import ServerProcess

DOCUMENT: dict[str, Any] = json.loads(openapi.DOCUMENT)
METHODS = {"get", "head", "post", "put", "delete"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_served(dummy_server: ServerProcess, slash: str) -> None:
    """The document is served to everybody, with and without a slash."""
    url = f"{dummy_server.url}/api/v0/openapi.json{slash}"
    answer = httpx.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT
    head = httpx.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


def test_valid() -> None:
    """It is OpenAPI 3.1, of this version."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["info"]["version"] == __version__


def _described() -> set[tuple[str, str]]:
    paths: dict[str, dict[str, Any]] = DOCUMENT["paths"]
    return {
        (path, method)
        for path, resource in paths.items()
        for method in METHODS & resource.keys()
    }


def _routed() -> set[tuple[str, str]]:
    return {
        (re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in BlockAPI.app.url_map.iter_rules()
        for method in rule.methods or ()
    }


def test_routes() -> None:
    """What is routed is described, and what is described is routed. HEAD goes
    with GET, and is described apart only where it differs."""
    routed, described = _routed(), _described()
    assert described <= routed
    assert {method for _, method in routed - described} == {"head"}


def test_refusals() -> None:
    """Each status with which an error is answered is described with its reasons, and
    no other; with a body and without."""
    reasons: dict[int, list[str]] = {}
    for status, reason in STATUS_LINES.values():
        if reason not in reasons.setdefault(status, []):
            reasons[status].append(reason)
    described = DOCUMENT["components"]["responses"]
    assert described.keys() == {f"{kind}{n}" for n in reasons for kind in ("", "Bare")}
    for name, response in described.items():
        told = reasons[int(name.removeprefix("Bare"))]
        assert response["description"].startswith(f"{' / '.join(told)}. ")
        assert ("content" in response) == (not name.startswith("Bare"))


def test_grammar() -> None:
    """The grammar of names is the one that requests are held to."""
    parameters = DOCUMENT["components"]["parameters"]
    assert parameters["prefix"]["schema"] == {
        "type": "string",
        "pattern": f"^{names.PREFIX_PATTERN}$",
    }
    assert parameters["path"]["schema"] == {
        "type": "string",
        "pattern": f"^{names.PATH_PATTERN}$",
        "maxLength": names.PATH_LIMIT,
    }


def test_operations_have_names() -> None:
    """Each operation has a name of its own, from which clients are generated."""
    paths = DOCUMENT["paths"]
    names = [paths[path][method]["operationId"] for path, method in _described()]
    assert len(names) == len(set(names))
