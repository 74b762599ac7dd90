"""What the server is compared with, on the same files and at the same time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from attrs import frozen

from tests.support.checkout import CHECKOUT

_NGINX = """
daemon off;
worker_processes 1;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {files}; }}
        location /dav/ {{
            root {home};
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
    }}
}}
"""


@frozen
class Rival:
    """A server and its first process."""

    url: str
    pid: int


@contextmanager
def nginx(home: Path, files: Path) -> Iterator[Rival]:
    """Run nginx with one worker.

    :param files: the directory whose files it serves; what it takes by WebDAV
        goes below ``home``, in the same file system.
    :raises RuntimeError: if nginx is not installed.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        raise RuntimeError("nginx with its WebDAV module is needed (nginx-light)")
    port = _free_port()
    (home / "dav").mkdir(parents=True)
    configuration = home / "nginx.conf"
    configuration.write_text(_NGINX.format(home=home, port=port, files=files))
    # Its worker gives up root's rights, and would not get at the files then.
    user = ("-g", "user root;") if _is_root() else ()
    process = subprocess.Popen([program, "-c", str(configuration), *user])
    with _ended(process):
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        yield Rival(url, process.pid)


@contextmanager
def bare_klein() -> Iterator[Rival]:
    """Run a route of Klein that does nothing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    with _ended(process):
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        _wait_for(url)
        yield Rival(url, process.pid)


@contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _is_root() -> bool:
    return os.geteuid() == 0
