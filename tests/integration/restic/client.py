"""A client of restic's REST protocol that does only what it is told."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import httpx

V1 = "application/vnd.x.restic.rest.v1"
V2 = "application/vnd.x.restic.rest.v2"
TYPES = ("data", "keys", "locks", "snapshots", "index")


def id_of(body: bytes) -> str:
    return sha256(body).hexdigest()


class RepositoryClient:
    """Somebody's repository.

    :param token: sent as password.
    """

    def __init__(self, server: str, token: str, name: str) -> None:
        self.name = name
        self._client = httpx.Client(
            base_url=f"{server}/restic/{name}/", auth=("anybody", token), timeout=60
        )

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, path, **options)

    def create(self) -> httpx.Response:
        return self.request("POST", "?create=true")

    def get(self, path: str, **headers: str) -> httpx.Response:
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, headers=dashed)

    def head(self, path: str) -> httpx.Response:
        return self.request("HEAD", path)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.request("POST", path, content=body, headers=headers)

    def delete(self, path: str) -> httpx.Response:
        return self.request("DELETE", path)

    def store(self, kind: str, body: bytes) -> httpx.Response:
        """Store a file under its digest."""
        return self.post(f"{kind}/{id_of(body)}", body)

    def list(self, kind: str) -> dict[str, int]:
        """Return the size of each file of a type."""
        answer = self.get(f"{kind}/", Accept=V2)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == V2
        return {entry["name"]: entry["size"] for entry in answer.json()}
