"""nginx in front of servers, with all of its files in one directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import TIMEOUT_SECONDS

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
"""Where nginx is; ``None`` if it is not installed."""

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
"""Where nginx is; ``None`` if it is not installed."""

_CONFIGURATION = """
daemon off;
{main}
pid {home}/nginx.pid;
error_log {errors};
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {http}
}}
"""


_HTTP = """
  upstream servers {{
    {servers}
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
"""


def nginx_configuration(
    home: Path, http: str, *, errors: str = "error.log warn", main: str = ""
) -> str:
    """Return a configuration.

    :param http: what is in its ``http`` block.
    :param errors: where they are logged, below ``home``, and from what level on.
    :param main: further directives outside of all blocks.
    """
    return _CONFIGURATION.format(home=home, http=http, errors=errors, main=main)


def nginx_command(configuration: Path) -> list[str]:
    """Return how to start nginx; its files are beside its configuration."""
    prefix = str(configuration.parent)
    return [NGINX or "nginx", "-c", str(configuration), "-p", prefix]


@contextmanager
def nginx_before(ports: Sequence[int]) -> Iterator[str]:
    """Run nginx in front of servers on these ports; give its URL.

    The test is skipped where there is no nginx.
    """
    if NGINX is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        port = free_port()
        servers = "".join(f"server 127.0.0.1:{one};" for one in ports)
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = Path(folder) / "nginx.conf"
        http = _HTTP.format(servers=servers, port=port)
        configuration.write_text(
            nginx_configuration(Path(folder), http, errors="stderr", main=user)
        )
        process = subprocess.Popen(nginx_command(configuration))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)
