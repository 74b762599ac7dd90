"""The resources below ``/restic`` (PROTOCOL section 11).

As in :mod:`qabel_block.http.routes`, each handler reads the request, calls one
operation and returns the body of the answer.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from twisted.internet.interfaces import IReactorTime
from werkzeug.routing import BaseConverter

from qabel_block.accounts.failed_logins import LoginGuard
from qabel_block.errors import BadRequest
from qabel_block.http.downloads import DownloadAnswers
from qabel_block.http.headers import field
from qabel_block.http.login import log_in, renewal
from qabel_block.http.routing import RouteResource, make_routes
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.model import Account
from qabel_block.names import REPOSITORY_PATTERN
from qabel_block.operations.repositories import Repositories
from qabel_block.restic.credentials import token_authorization
from qabel_block.restic.listing import send_list
from qabel_block.restic.problems import answer_restic_failure
from qabel_block.rules.digests import expected_digests
from qabel_block.util.budget import transferring

CONFIG = "config"


class RepositoryConverter(BaseConverter):
    """The name of a repository."""

    regex = REPOSITORY_PATTERN


class TypeConverter(BaseConverter):
    """A type of files."""

    regex = "data|keys|locks|snapshots|index"


class IdConverter(BaseConverter):
    """The name of a file, which is the SHA-256 of its bytes."""

    regex = "[0-9A-Fa-f]{64}"

    def to_python(self, value: str) -> str:
        """Return it in lower case: it is a number."""
        return value.lower()


class ResticAPI:
    """The interface to repositories that restic speaks.

    :param downloads: must not leave files to nginx, which would be told the prefix.
    :param clock: limits how long a client may stall.
    """

    app = make_routes()
    app.url_map.converters["repository"] = RepositoryConverter
    app.url_map.converters["type"] = TypeConverter
    app.url_map.converters["id"] = IdConverter

    def __init__(
        self,
        logins: LoginGuard,
        repositories: Repositories,
        downloads: DownloadAnswers,
        clock: IReactorTime,
    ) -> None:
        self._logins = logins
        self._repositories = repositories
        self._downloads = downloads
        self._clock = clock

    def resource(self) -> RouteResource:
        """Return what answers requests."""
        return RouteResource(self.app, self, answer_restic_failure)

    @app.route("/restic/<repository:name>", methods=["POST"])
    async def create(self, request: StreamingRequest, name: str) -> bytes:
        """Make a repository, unless it is there."""
        account = await self._authenticate(request)
        query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"))
        if query.get("create") != ["true"]:
            raise BadRequest("a repository is created with ?create=true")
        await self._repositories.create(account, name)
        return _done(request)

    @app.route("/restic/<repository:name>/config", methods=["GET"])
    async def config(self, request: StreamingRequest, name: str) -> bytes:
        """Send the configuration, or only its head."""
        return await self._send(request, name, CONFIG)

    @app.route("/restic/<repository:name>/config", methods=["POST"])
    async def store_config(self, request: StreamingRequest, name: str) -> bytes:
        """Store the configuration, unless there is another one."""
        return await self._store(request, name, CONFIG, frozenset())

    @app.route("/restic/<repository:name>/config", methods=["DELETE"])
    async def delete_config(self, request: StreamingRequest, name: str) -> bytes:
        """Delete the configuration."""
        return await self._delete(request, name, CONFIG)

    @app.route("/restic/<repository:name>/<type:kind>", methods=["GET"])
    async def list_files(
        self, request: StreamingRequest, name: str, kind: str
    ) -> bytes:
        """List the files of a type."""
        account = await self._authenticate(request)
        files = await self._repositories.files(account, name, kind)
        with transferring():
            await send_list(request, files, self._clock)
        return b""

    @app.route("/restic/<repository:name>/<type:kind>/<id:file>", methods=["GET"])
    async def download(
        self, request: StreamingRequest, name: str, kind: str, file: str
    ) -> bytes:
        """Send a file, a part of it, or only its head."""
        return await self._send(request, name, f"{kind}/{file}")

    @app.route("/restic/<repository:name>/<type:kind>/<id:file>", methods=["POST"])
    async def upload(
        self, request: StreamingRequest, name: str, kind: str, file: str
    ) -> bytes:
        """Store a file whose name is the digest of its bytes."""
        return await self._store(request, name, f"{kind}/{file}", frozenset({file}))

    @app.route("/restic/<repository:name>/<type:kind>/<id:file>", methods=["DELETE"])
    async def delete(
        self, request: StreamingRequest, name: str, kind: str, file: str
    ) -> bytes:
        """Delete a file; that it was not there is no error."""
        return await self._delete(request, name, f"{kind}/{file}")

    async def _send(self, request: StreamingRequest, name: str, path: str) -> bytes:
        account = await self._authenticate(request)
        file = await self._repositories.file(account, name, path)
        await self._downloads.answer(request, file)
        return b""

    async def _store(
        self, request: StreamingRequest, name: str, path: str, digests: frozenset[str]
    ) -> bytes:
        authorization = _token_authorization(request)
        account = await self._log_in(request, authorization)
        stated = expected_digests(
            field(request, b"Content-Digest"), field(request, b"Repr-Digest")
        )
        await self._repositories.store(
            account,
            name,
            path,
            request.content_length,
            digests | stated,
            request.body,
            renewal(request, self._logins, authorization, account),
        )
        return _done(request)

    async def _delete(self, request: StreamingRequest, name: str, path: str) -> bytes:
        account = await self._authenticate(request)
        await self._repositories.delete(account, name, path)
        return _done(request)

    async def _authenticate(self, request: StreamingRequest) -> Account:
        """Return the account of the request's token, which must be active.

        :raises UserDisabled: if it is not.
        """
        return await self._log_in(request, _token_authorization(request))

    async def _log_in(self, request: StreamingRequest, authorization: str) -> Account:
        account = await log_in(request, self._logins, authorization)
        account.require_active()
        return account


def _token_authorization(request: StreamingRequest) -> str:
    return token_authorization(field(request, b"Authorization"))


def _done(request: StreamingRequest) -> bytes:
    """Prepare the answer to what has been done. It is 200: restic takes 204 for a
    failure."""
    request.setResponseCode(200)
    request.setHeader(b"Content-Length", b"0")
    return b""
