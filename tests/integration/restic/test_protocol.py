"""The requests of PROTOCOL section 11, one by one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from qabel_block.accounts.tokens import new_token
from tests.integration.restic.client import TYPES, V1, V2, RepositoryClient, id_of
from tests.support.server import ServerProcess
from tests.support.tools import run_tool
from tests.support.world import User, World

Connect = Callable[..., RepositoryClient]

BODY = b"what restic has encrypted"


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.reason_phrase


def test_create(connect: Connect, user: User) -> None:
    """A repository is created once, and asking again is no error; it takes the
    parameter."""
    repository = connect(user, create=False)
    assert said(repository.request("POST", ""))[0] == 400
    assert said(repository.request("POST", "?create=false"))[0] == 400
    assert repository.get("data/").status_code == 404
    assert repository.create().status_code == 200
    assert repository.store("data", BODY).status_code == 200
    assert repository.create().status_code == 200
    assert repository.list("data") == {id_of(BODY): len(BODY)}


def test_delete_repository(connect: Connect, user: User) -> None:
    """A repository can't be deleted by clients."""
    answer = connect(user).request("DELETE", "")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_trailing_slashes(user: User) -> None:
    """With and without one, each resource is the same."""
    with httpx.Client(base_url=user.server.url, auth=("", user.token)) as client:
        for url in ("/restic/slash?create=true", "/restic/slash/?create=true"):
            assert client.post(url).status_code == 200
        file = f"/restic/slash/data/{id_of(BODY)}"
        assert client.post(f"{file}/", content=BODY).status_code == 200
        assert client.get(file).content == BODY
        for url in ("/restic/slash/data", "/restic/slash/data/"):
            assert client.get(url).json() == [id_of(BODY)]
        for url in ("/restic/slash/config", "/restic/slash/config/"):
            assert client.head(url).status_code == 404


def test_config(connect: Connect, user: User) -> None:
    """A configuration is stored once; the same again is no error, another is; it
    can be deleted."""
    repository = connect(user)
    assert repository.head("config").status_code == 404
    assert repository.get("config").status_code == 404
    assert repository.post("config", BODY).status_code == 200
    head = repository.head("config")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BODY)))
    assert repository.get("config").content == BODY
    assert repository.post("config", BODY).status_code == 200
    assert said(repository.post("config", b"x")) == (403, "Another file has this name")
    assert repository.get("config").content == BODY
    assert repository.delete("config").status_code == 200
    assert repository.delete("config").status_code == 200
    assert repository.get("config").status_code == 404
    assert repository.post("config", b"x").status_code == 200


@pytest.mark.parametrize("kind", TYPES)
def test_files(connect: Connect, user: User, kind: str) -> None:
    """A file is stored, listed, read as a whole and in part, and deleted."""
    repository = connect(user)
    file = f"{kind}/{id_of(BODY)}"
    assert repository.get(file).status_code == repository.head(file).status_code == 404
    answer = repository.store(kind, BODY)
    assert (answer.status_code, answer.content) == (200, b"")
    assert repository.list(kind) == {id_of(BODY): len(BODY)}
    head = repository.head(file)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BODY)))
    assert repository.get(file).content == BODY
    part = repository.get(file, Range="bytes=5-10")
    assert (part.status_code, part.content) == (206, BODY[5:11])
    rest = repository.get(file, Range="bytes=5-")
    assert (rest.status_code, rest.content) == (206, BODY[5:])
    assert repository.get(file, Range="bytes=999-").status_code == 416
    assert repository.delete(file).status_code == 200
    assert repository.delete(file).status_code == 200
    assert repository.get(file).status_code == 404
    assert repository.list(kind) == {}
    assert user.size == 0


def test_upper_case(connect: Connect, user: User) -> None:
    """An ID is a number: in capitals it is the same."""
    repository = connect(user)
    assert repository.post(f"data/{id_of(BODY).upper()}", BODY).status_code == 200
    assert repository.list("data") == {id_of(BODY): len(BODY)}
    assert repository.get(f"data/{id_of(BODY).upper()}").content == BODY


def test_lists(connect: Connect, user: User) -> None:
    """A list is of the version that was asked for, in restic's exact words."""
    repository = connect(user)
    assert repository.get("keys/").content == b"[]"
    bodies = [b"%d" % number for number in range(5)]
    for body in bodies:
        repository.store("keys", body)
    ids = sorted(map(id_of, bodies))
    for accept in ("*/*", "application/json", V1, "", f"{V2};q=0"):
        answer = repository.get("keys/", Accept=accept)
        assert answer.headers["content-type"] == V1
        assert answer.json() == ids
    for accept in (V2, f"{V1}, {V2}"):
        answer = repository.get("keys/", Accept=accept)
        assert answer.headers["content-type"] == V2
        assert answer.json() == [{"name": name, "size": 1} for name in ids]


def test_chunked(connect: Connect, user: User) -> None:
    """A body whose length is not told is stored as well."""
    repository = connect(user)
    answer = repository.post(f"data/{id_of(BODY)}", iter([BODY[:9], BODY[9:]]))
    assert answer.status_code == 200
    assert repository.get(f"data/{id_of(BODY)}").content == BODY


def test_wrong_digest(connect: Connect, user: User) -> None:
    """What is not what its name says is refused, and nothing is stored."""
    repository = connect(user)
    for body in (b"", b"other", BODY[:-1]):
        assert repository.post(f"data/{id_of(BODY)}", body).status_code == 400
    assert repository.list("data") == {}
    assert user.size == 0


def test_cut_off(connect: Connect, world: World, user: User) -> None:
    """An upload that breaks off changes nothing."""
    repository = connect(user)
    credentials = base64.b64encode(f"x:{user.token}".encode()).decode()
    with user.wire() as wire:
        headers = {"Authorization": f"Basic {credentials}", "Content-Length": "25"}
        wire.head("POST", f"/restic/laptop/data/{id_of(BODY)}", headers)
        wire.send(BODY[:10])
    assert repository.list("data") == {}
    assert repository.store("data", BODY).status_code == 200


@pytest.mark.parametrize("kind", TYPES)
def test_again(connect: Connect, world: World, user: User, kind: str) -> None:
    """The same file again is no error and changes nothing, not even the ETag."""
    repository = connect(user)
    assert repository.store(kind, BODY).status_code == 200
    file = f"{kind}/{id_of(BODY)}"
    etag = repository.get(file).headers["etag"]
    assert repository.store(kind, BODY).status_code == 200
    assert repository.post(file, iter([BODY])).status_code == 200
    assert repository.post(file, b"something else").status_code == 400
    assert repository.get(file).headers["etag"] == etag
    assert repository.get(file).content == BODY
    assert user.size == len(BODY)


def test_again_large(connect: Connect, user: User) -> None:
    """A large body that is not needed is read, so that the client gets its answer."""
    repository, body = connect(user), b"x" * 20_000_000
    assert repository.store("data", body).status_code == 200
    assert repository.store("data", body).status_code == 200
    assert user.size == len(body)


@pytest.mark.parametrize(
    "path",
    [
        "data/abc",
        f"data/{'g' * 64}",
        f"data/{'0' * 63}",
        f"data/{'0' * 65}",
        f"data/00/{'0' * 64}",
        f"blobs/{'0' * 64}",
        "other",
        "config/x",
        "data//",
    ],
)
def test_no_such_path(connect: Connect, user: User, path: str) -> None:
    """What is not of the protocol is not there, whatever is asked."""
    repository = connect(user)
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert repository.request(method, path).status_code == 404


def test_no_such_repository(connect: Connect, user: User) -> None:
    """In a repository that was not created nothing is found or stored, and there is
    nothing to delete."""
    repository = connect(user, create=False)
    file = f"data/{id_of(BODY)}"
    for path in ("config", "data/", file):
        assert said(repository.get(path)) == (404, "Repository not found")
    assert repository.store("data", BODY).status_code == 404
    assert repository.post("config", BODY).status_code == 404
    assert repository.delete(file).status_code == 200


@pytest.mark.parametrize("name", ["a" * 65, "a+b", "a%20b", "%61", "ä", ""])
def test_wrong_name(user: User, name: str) -> None:
    """A repository's name is of letters, digits, dots, hyphens and underscores."""
    with httpx.Client(base_url=user.server.url, auth=("", user.token)) as client:
        assert client.post(f"/restic/{name}/?create=true").status_code == 404


def test_same_name(connect: Connect, world: World) -> None:
    """Two users may have the same name for different repositories."""
    ours, theirs = connect(world.user()), connect(world.user())
    assert ours.store("data", BODY).status_code == 200
    assert theirs.list("data") == {}
    assert theirs.get(f"data/{id_of(BODY)}").status_code == 404
    assert theirs.delete(f"data/{id_of(BODY)}").status_code == 200
    assert ours.list("data") == {id_of(BODY): len(BODY)}


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic AA=A",
        f"Basic {base64.b64encode(bytes([255, 58, 255])).decode()}",
        basic(":"),
        basic("anybody:"),
        basic("anybody"),
        basic(":nobody"),
        basic("a:with a space"),
        basic("a:" + "x" * 5000),
        "Token {token}",
        "Bearer {token}",
        "Basic {token}",
    ],
)
def test_unauthorized(user: User, authorization: str | None) -> None:
    """Without a token that somebody has, there is a challenge."""
    headers = {}
    if authorization is not None:
        headers["Authorization"] = authorization.format(token=user.token)
    requests = [
        ("POST", "?create=true"),
        ("GET", "config"),
        ("GET", "data/"),
        ("GET", f"data/{id_of(BODY)}"),
        ("POST", f"data/{id_of(BODY)}"),
        ("DELETE", f"data/{id_of(BODY)}"),
    ]
    with httpx.Client(base_url=f"{user.server.url}/restic/laptop/") as client:
        for method, path in requests:
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Basic realm="restic"'


def test_any_user_name(user: User) -> None:
    """The user name is not looked at; the scheme's case neither."""
    url = f"{user.server.url}/restic/names/?create=true"
    for name in ("", "alice", "älice"):
        given = basic(f"{name}:{user.token}")
        for value in (given, given.replace("Basic", "bASIC")):
            answer = httpx.post(url, headers={"Authorization": value})
            assert answer.status_code == 200


def test_colon_in_token(connect: Connect, world: World) -> None:
    """A token may contain a colon."""
    user = world.user()
    user.token = f"with:colons:{user.token}"
    world.accounting.add_user(user.token, user.user_id)
    assert connect(user).list("data") == {}


def test_disabled_user(connect: Connect, world: World) -> None:
    """A user who is disabled may do nothing."""
    user = world.user()
    connect(user).store("data", BODY)
    disabled = connect(world.login(user.user_id, active=False), create=False)
    for method, path in (
        ("POST", "?create=true"),
        ("GET", "data/"),
        ("GET", f"data/{id_of(BODY)}"),
        ("POST", f"data/{id_of(BODY)}"),
        ("DELETE", f"data/{id_of(BODY)}"),
    ):
        answer = disabled.request(method, path)
        assert said(answer) == (403, "User is disabled")


def test_hidden_prefix(connect: Connect, world: World, user: User) -> None:
    """No answer tells the prefix of a repository, which is a UUID4."""
    repository = connect(user)
    own = user.prefix
    repository.post("config", BODY)
    ((prefix,),) = world.query(
        f"SELECT prefix FROM repositories WHERE user_id = {user.user_id}"
    )
    assert UUID(prefix).version == 4
    assert user.client.get("/api/v0/prefix/").json() == {"prefixes": [own]}
    repository.store("data", BODY)
    file = f"data/{id_of(BODY)}"
    for answer in (
        repository.create(),
        repository.get(file),
        repository.head(file),
        repository.get("data/"),
        repository.store("data", BODY),
        repository.post(file, b"x"),
        repository.get("data/x"),
        repository.delete(file),
    ):
        assert prefix not in f"{answer.headers!r} {answer.text}"
    assert (
        httpx.get(f"{user.server.url}/api/v0/files/{prefix}/config").content == BODY
    )  # whoever knows it may read


def test_problem_answers(connect: Connect, user: User) -> None:
    """Who accepts a problem description gets one; restic does not."""
    repository = connect(user)
    problem = repository.get("config", Accept="application/problem+json")
    assert problem.headers["content-type"] == "application/problem+json"
    assert json.loads(problem.content)["title"] == "File not found"
    assert repository.get("config", Accept=V2).content == b""


def test_counts_as_the_users(connect: Connect, user: User) -> None:
    """What is in repositories counts like all that a user stores."""
    user.upload("blocks/a", b"12345")
    connect(user, "one").store("data", BODY)
    connect(user, "two").store("index", BODY)
    assert user.size == user.sum_of_objects == 5 + 2 * len(BODY)


def test_nothing_is_left_to_nginx(tmp_path: Path) -> None:
    """nginx would have to be told where a repository is."""
    options = ("--standalone", str(tmp_path / "home"), "--dummy-auth", "T")
    with ServerProcess(*options, "--x-accel-redirect", "/internal") as server:
        repository = RepositoryClient(server.url, "T", "laptop")
        repository.create()
        repository.store("data", BODY)
        answer = repository.get(f"data/{id_of(BODY)}")
        repository.close()
    assert answer.content == BODY
    assert "x-accel-redirect" not in answer.headers


def test_too_many_unknown_tokens(tmp_path: Path) -> None:
    """From an address from which too many tokens failed, restic reads why, and that a
    known token is served all the same."""
    place = ("--standalone", str(tmp_path))
    with ServerProcess(*place, "--trusted-proxy", "127.0.0.1") as server:
        token = run_tool("user", "add", *place, "--quiet", "alice").out.strip()
        headers = {"X-Forwarded-For": "203.0.113.5"}
        url = f"{server.url}/restic/laptop/"
        with httpx.Client(headers=headers, base_url=url) as client:
            answers = [
                client.head("config", auth=("alice", new_token())) for _ in range(31)
            ]
            assert client.post("?create=true", auth=("", token)).status_code == 200
    assert set(map(said, answers[:30])) == {(401, "Token not known")}
    assert said(answers[30]) == (429, "Too many unknown tokens from this address")
    assert 0 < int(answers[30].headers["retry-after"]) <= 60
    assert "www-authenticate" not in answers[30].headers
