"""Three nodes behind nginx, on replicated engines."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx

from qabel_block.ledger.migrate import upgrade
from tests.support.checkout import CHECKOUT
from tests.support.nginx import NGINX, nginx_command, nginx_configuration
from tests.support.ports import free_port
from tests.support.replicated import postgres
from tests.support.replicated.daemon import Daemon
from tests.support.replicated.postgres import ReplicatedPostgres
from tests.support.replicated.seaweed import ReplicatedSeaweed
from tests.support.replicated.valkey import ReplicatedValkey
from tests.support.waiting import wait_for

TOKEN = "T"
NODES = 3
_HTTP = """
    upstream nodes {{
{nodes}
    }}
    map $http_upgrade $connection_header {{ websocket upgrade; default ""; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_header;
            proxy_request_buffering off;
            proxy_connect_timeout 2s;
            proxy_read_timeout 20s;
        }}
    }}
"""


def missing() -> str:
    """Return why this can't be had here; empty if it can."""
    return postgres.missing() or ("" if NGINX else "nginx is not installed")


class ReplicatedInstallation:
    """Everything, and what has to be known to use it.

    :ivar url: of nginx, for clients.
    :ivar options: of ``qabel-block``'s commands.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(
            self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="qabel-block-drill-")
            )
        )
        self.folder.chmod(0o755)
        self.postgres = ReplicatedPostgres(self._home("postgres"))
        self.valkey = ReplicatedValkey(self._home("valkey"))
        self.seaweed = ReplicatedSeaweed(self._home("seaweed"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = ("--psql-dsn", self.postgres.dsn, *self.seaweed.options)
        nodes = self._home("nodes")
        ports = [free_port() for _ in range(NODES)]
        self.node_urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.nodes = [
            Daemon(
                f"node-{number}",
                [
                    *(sys.executable, "-m", "twisted", "qabel-block", *self.options),
                    *("--address", "127.0.0.1", "--port", str(port)),
                    *("--redis-url", self.valkey.url, "--dummy-auth", TOKEN),
                ],
                nodes,
                {"PYTHONPATH": str(CHECKOUT), **self.seaweed.environment},
            )
            for number, port in enumerate(ports, 1)
        ]
        self.nginx = self._front(self._home("nginx"), ports)

    def __enter__(self) -> Self:
        """Start all parts, and return when requests are served."""
        try:
            for engine in (self.postgres, self.valkey, self.seaweed):
                self._stack.callback(engine.stop)
                engine.start()
            upgrade(self.postgres.dsn)
            for part in (*self.nodes, self.nginx):
                self._stack.enter_context(part)
            wait_for(self.is_ready, 120)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def is_ready(self) -> bool:
        """Say whether every node is ready, with nothing missing."""
        try:
            return all(
                httpx.get(f"{url}/readyz", timeout=10).json() == {"ready": True}
                for url in self.node_urls
            )
        except (httpx.HTTPError, ValueError):
            return False

    def _front(self, home: Path, ports: list[int]) -> Daemon:
        nodes = "\n".join(
            f"        server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;"
            for port in ports
        )
        file = home / "nginx.conf"
        http = _HTTP.format(nodes=nodes, port=self.port)
        file.write_text(nginx_configuration(home, http))
        return Daemon("nginx", nginx_command(file), home)

    def _home(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir()
        return home
