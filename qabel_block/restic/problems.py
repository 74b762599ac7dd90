"""What errors are in restic's protocol, as far as that differs from v0."""

from __future__ import annotations

from twisted.python.failure import Failure

from qabel_block import errors
from qabel_block.http.problems import STATUS_LINES, answer_failure
from qabel_block.http.transport.request import StreamingRequest

_STATUS_LINES = {
    **STATUS_LINES,
    errors.NoAuthorization: (401, "No token given as password"),
    errors.UnknownUser: (401, "Token not known"),
    errors.NotPermitted: (403, "Not allowed with this token"),
    errors.StoredDiffers: (403, "Another file has this name"),
    errors.TrafficQuotaReached: (403, "Traffic quota of this month reached"),
    errors.RepositoryNotFound: (404, "Repository not found"),
    errors.TooManyFailedLogins: (429, "Too many unknown tokens from this address"),
    errors.QuotaReached: (507, "Storage quota reached"),
}
"""restic shows the reason phrases, and nothing else."""


def answer_restic_failure(request: StreamingRequest, failure: Failure) -> bytes:
    """Turn an error into an answer and return the answer's body."""
    body = answer_failure(request, failure, _STATUS_LINES)
    if request.code == 401:
        request.setHeader(b"WWW-Authenticate", b'Basic realm="restic"')
    return body
