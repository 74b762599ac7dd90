"""A page in a real browser uses a server of another origin (PROTOCOL section 12)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.server import ServerProcess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGE = Path(__file__).with_name("page.html").read_bytes()
TOKEN = "token-of-the-page"
BODY = b"0123456789"
DIGEST = f"sha-256=:{b64encode(sha256(BODY).digest()).decode()}:"
TIMEOUT = 120

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium (Debian: apt-get install chromium)"
)


class Site(ThreadingHTTPServer):
    """Serves the page, and takes what it reports."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: SimpleQueue[dict[str, Any]] = SimpleQueue()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.server.seen.put(json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    threading.Thread(target=site.serve_forever, args=(0.02,), daemon=True).start()
    yield site
    site.shutdown()
    site.server_close()


def visit(site: Site, server: ServerProcess, home: Path, file: str) -> dict[str, Any]:
    """Open the page in a browser; return what its script has seen."""
    told = {"api": server.url, "token": TOKEN, "file": file, "digest": DIGEST}
    browser = subprocess.Popen(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", f"--user-data-dir={home}"),
            # Keeps it running once the page is loaded.
            "--remote-debugging-port=0",
            f"{site.origin}/#{quote(json.dumps(told))}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return site.seen.get(timeout=TIMEOUT)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait(TIMEOUT)


def test_page(tmp_path: Path) -> None:
    """A page of a named origin creates an object, sees that it exists already, reads
    a part and the headers it needs, hears of a change and deletes it. To a page of
    another origin nothing of all that is shown."""
    with serving() as named, serving() as other:
        options = ("--dummy-auth", TOKEN, "--cors-origin", named.origin)
        home = tmp_path / "data"
        with ServerProcess("--standalone", str(home), *options) as server:
            seen = visit(named, server, tmp_path / "named", "p/a")
            assert seen.pop("etag").startswith('"')
            assert seen == {
                "created": 204,
                "conflict": [412, True],
                "part": [206, "234", "bytes 2-4/10", DIGEST, True],
                "missing": 404,
                "event": ["v0.ws.block.qabel.de", "POST", "p/a", True],
                "deleted": 204,
            }
            seen = visit(other, server, tmp_path / "other", "p/b")
            assert set(seen.values()) == {"refused: TypeError", "refused: Error"}
            assert seen["event"] == "refused: Error"
            assert TOKEN not in server.log()
