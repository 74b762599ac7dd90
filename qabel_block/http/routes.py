"""The resources of ``/api/v0`` (PROTOCOL section 2), and two for operators.

Each handler reads the request, calls one operation and returns the body of the
answer.
"""

from __future__ import annotations

from twisted.python.failure import Failure
from werkzeug.routing import BaseConverter

from qabel_block.accounts.failed_logins import LoginGuard
from qabel_block.errors import (
    BadRequest,
    MethodRefused,
    NoAuthorization,
    UnsupportedEncoding,
)
from qabel_block.http.downloads import DownloadAnswers
from qabel_block.http.headers import conditions, field, json_answer, json_body
from qabel_block.http.login import log_in, renewal
from qabel_block.http.openapi import DOCUMENT
from qabel_block.http.problems import answer_failure, answer_preflight
from qabel_block.http.routing import RouteResource, make_routes
from qabel_block.http.transport.request import StreamingRequest
from qabel_block.http.websocket.handshake import check_handshake, offered_authorization
from qabel_block.http.websocket.prefix_access import PrefixAccess
from qabel_block.http.websocket.sockets import WebSockets
from qabel_block.model import Account, ObjectName
from qabel_block.names import PATH_LIMIT, PATH_PATTERN, PREFIX_PATTERN
from qabel_block.operations.objects import Operations
from qabel_block.operations.readiness import Readiness
from qabel_block.operations.upload import Upload, Uploads
from qabel_block.push.hub import is_quiet
from qabel_block.rules.digests import expected_digests


class PrefixConverter(BaseConverter):
    """A prefix."""

    regex = PREFIX_PATTERN


class PathConverter(BaseConverter):
    """The path of an object below its prefix: one or more segments, at the end
    of the URL."""

    regex = rf"(?=.{{1,{PATH_LIMIT}}}$){PATH_PATTERN}"
    part_isolating = False


class BlockAPI:
    """The HTTP interface to the operations."""

    app = make_routes()
    app.url_map.converters["prefix"] = PrefixConverter
    app.url_map.converters["path"] = PathConverter

    def __init__(
        self,
        readiness: Readiness,
        logins: LoginGuard,
        operations: Operations,
        uploads: Uploads,
        downloads: DownloadAnswers,
        sockets: WebSockets,
    ) -> None:
        self._sockets = sockets
        self._readiness = readiness
        self._logins = logins
        self._operations = operations
        self._uploads = uploads
        self._downloads = downloads

    def resource(self) -> RouteResource:
        """Return what answers requests."""
        return RouteResource(self.app, self, _answer_failure)

    @app.route("/healthz", methods=["GET"])
    async def healthz(self, request: StreamingRequest) -> bytes:
        """Tell that the process lives."""
        return json_answer(request, 200, {"alive": True})

    @app.route("/readyz", methods=["GET"])
    async def readyz(self, request: StreamingRequest) -> bytes:
        """Tell whether uploads and downloads work, and what does not."""
        report = await self._readiness.report()
        if not report.ready:
            return json_answer(request, 503, {"ready": False, **report.missing})
        degraded = {"degraded": report.degraded} if report.degraded else {}
        return json_answer(request, 200, {"ready": True, **degraded})

    @app.route("/api/v0/openapi.json", methods=["GET"])
    async def describe(self, request: StreamingRequest) -> bytes:
        """Tell in OpenAPI what can be asked here."""
        return json_body(request, 200, DOCUMENT)

    @app.route("/api/v0/prefix", methods=["GET"])
    async def list_prefixes(self, request: StreamingRequest) -> bytes:
        """List the user's prefixes."""
        account = await self._authenticate(request)
        prefixes = await self._operations.prefixes(account)
        return json_answer(request, 200, {"prefixes": prefixes})

    @app.route("/api/v0/prefix", methods=["POST"])
    async def create_prefix(self, request: StreamingRequest) -> bytes:
        """Give the user a new prefix."""
        account = await self._authenticate(request)
        prefix = await self._operations.create_prefix(account)
        return json_answer(request, 201, {"prefix": prefix})

    @app.route("/api/v0/quota", methods=["GET"])
    async def quota(self, request: StreamingRequest) -> bytes:
        """Tell how much the user may store, and does."""
        account = await self._authenticate(request)
        size = await self._operations.storage_used(account)
        return json_answer(request, 200, {"quota": account.storage_quota, "size": size})

    @app.route("/api/v0/files/<prefix:prefix>/<path:path>", methods=["GET"])
    async def download(
        self, request: StreamingRequest, prefix: str, path: str
    ) -> bytes:
        """Send an object, a part of it, or only its head."""
        await self._downloads.answer(request, ObjectName(prefix, path))
        return b""

    @app.route("/api/v0/files/<prefix:prefix>/<path:path>", methods=["POST", "PUT"])
    async def upload(self, request: StreamingRequest, prefix: str, path: str) -> bytes:
        """Store the body as the next version of an object."""
        authorization = _required_authorization(request)
        account = await log_in(request, self._logins, authorization)
        if request.requestHeaders.hasHeader(b"Content-Range"):
            # RFC 9110 section 14.4: a part must not replace the whole.
            raise BadRequest("partial uploads are not supported")
        if (field(request, b"Content-Encoding") or "identity").lower() != "identity":
            raise UnsupportedEncoding(
                "Content-Encoding would be lost: send the bytes that shall come back"
            )
        upload = Upload(
            account,
            ObjectName(prefix, path),
            conditions(request),
            request.content_length,
            expected_digests(
                field(request, b"Content-Digest"), field(request, b"Repr-Digest")
            ),
        )
        renew = renewal(request, self._logins, authorization, account)
        etag = await self._uploads.store(upload, request.body, renew)
        request.setHeader(b"ETag", etag.encode("ascii"))
        request.setResponseCode(204)
        return b""

    @app.route("/api/v0/files/<prefix:prefix>/<path:path>", methods=["DELETE"])
    async def delete(self, request: StreamingRequest, prefix: str, path: str) -> bytes:
        """Delete an object; that it was not there is no error."""
        account = await self._authenticate(request)
        name = ObjectName(prefix, path)
        await self._operations.delete(account, name, conditions(request))
        request.setResponseCode(204)
        return b""

    @app.route("/api/v0/websocket/<prefix:prefix>", methods=["GET"])
    async def listen_to_prefix(self, request: StreamingRequest, prefix: str) -> None:
        """Tell of changes below a prefix of the user's own."""
        check_handshake(request)
        authorization = _authorization(request) or offered_authorization(request)
        if not authorization:
            raise NoAuthorization
        account = await log_in(request, self._logins, authorization)
        await self._operations.check_prefix(account, prefix)
        access = PrefixAccess(
            self._logins, self._operations, authorization, request.request_id, prefix
        )
        await self._sockets.open(request, prefix, None, access.check)

    @app.route("/api/v0/websocket/<prefix:prefix>/<path:path>", methods=["GET"])
    async def listen_to_object(
        self, request: StreamingRequest, prefix: str, path: str
    ) -> None:
        """Tell of changes of one object, whoever asks."""
        if is_quiet(path):
            raise MethodRefused
        check_handshake(request)
        await self._sockets.open(request, prefix, path)

    async def _authenticate(self, request: StreamingRequest) -> Account:
        return await log_in(request, self._logins, _required_authorization(request))


def _answer_failure(request: StreamingRequest, failure: Failure) -> bytes:
    """Answer with the problem that a handler ended in."""
    if answer_preflight(request, failure.value):
        return b""
    return answer_failure(request, failure)


def _required_authorization(request: StreamingRequest) -> str:
    authorization = _authorization(request)
    if not authorization:
        raise NoAuthorization
    return authorization


def _authorization(request: StreamingRequest) -> str | None:
    value = request.getHeader(b"Authorization")
    return None if value is None else value.decode("latin-1")
