"""schemathesis asks the server what its description allows, and what it forbids,
and compares each answer with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.adapters import HTTPAdapter
from schemathesis import Case
from schemathesis.config import SchemathesisConfig

from qabel_block.http import openapi
from tests.support.server import ServerProcess

DOCUMENT: dict[str, Any] = json.loads(openapi.DOCUMENT)
FILE = "/api/v0/files/{prefix}/{path}"
EXAMPLES = {
    name: parameter["example"]
    for name, parameter in DOCUMENT["components"]["parameters"].items()
    if "example" in parameter
}
# Which of these a download reaches depends on headers of which a request at random has
# all at once or none: asked for one by one below.
DOWNLOADS = {"200", "206", "304"}
SLASH = re.compile(r"%2F(?=[A-Za-z0-9_-])")

TOKEN = {"Authorization": "Token MAGICFARYDUST"}
CONFIG = {
    "seed": 1,
    "headers": TOKEN,
    "checks": {
        "not_a_server_error": {"expected-statuses": ["1xx", "2xx", "3xx", "4xx"]},
        # Conditions that don't hold, digests that don't match, ranges outside of
        # the object: well-formed, and refused.
        "positive_data_acceptance": {
            "expected-statuses": ["1xx", "2xx", "3xx", 400, 404, 405, 412, 416, 426]
        },
        "negative_data_rejection": {"expected-statuses": [400, 404, 405, 426]},
        # These want 401, which is 403 here (PROTOCOL section 2) and has tests of
        # its own.
        "missing_required_header": {"enabled": False},
        "ignored_auth": {"enabled": False},
    },
}


class Adapter(HTTPAdapter):
    """Sends slashes between segments as they are: OpenAPI can't say so."""

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        request.url = SLASH.sub("/", request.url)
        answer = super().send(request, **options)
        if answer.status_code == 101:
            self.close()  # HTTP is over on this connection
        return answer


@pytest.fixture(scope="module")
def session(dummy_server: ServerProcess) -> Iterator[requests.Session]:
    """What sends requests."""
    with requests.Session() as session:
        session.mount("http://", Adapter())
        session.headers["Connection"] = "Upgrade"
        yield session


@pytest.fixture
def stored(dummy_server: ServerProcess) -> None:
    """Stores the object of the examples."""
    names = {name: quote(example) for name, example in EXAMPLES.items()}
    url = dummy_server.url + FILE.format(**names)
    requests.put(url, b"0123456789", headers=TOKEN, timeout=60).raise_for_status()


@pytest.fixture
def answered(request: pytest.FixtureRequest, stored: None) -> Iterator[set[str]]:
    """Collects the statuses with which an operation is answered, and checks that
    nothing that can succeed was only refused."""
    answered: set[str] = set()
    yield answered
    method, path = request.node.name.removesuffix("]").partition("[")[2].split()
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    possible = {status for status in responses if status < "400"}
    if path == FILE:
        possible -= DOWNLOADS
    assert possible <= answered


schema = schemathesis.openapi.from_dict(
    DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)
)


@schema.parametrize()
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_answers(
    case: Case[Any],
    session: requests.Session,
    dummy_server: ServerProcess,
    answered: set[str],
) -> None:
    """Whatever is asked, the answer is one that the description has for it."""
    answer = case.call_and_validate(dummy_server.url, session)
    answered.add(str(answer.status_code))


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("GET", {"Range": "bytes=0-3"}, 206),
        ("GET", {"If-None-Match": "*"}, 304),
        ("HEAD", {}, 200),
        ("HEAD", {"If-None-Match": "*"}, 304),
    ],
)
@pytest.mark.usefixtures("stored")
def test_downloads(
    session: requests.Session,
    dummy_server: ServerProcess,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """Each answer to a download is described."""
    case = schema[FILE][method].Case(path_parameters=EXAMPLES, headers=headers)
    answer = case.call_and_validate(dummy_server.url, session)
    assert answer.status_code == status
