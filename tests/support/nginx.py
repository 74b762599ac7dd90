"""nginx in front of servers, as an operator sets it up."""

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

_CONFIGURATION = """
daemon off;
error_log stderr;
pid {folder}/pid;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
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
}}
"""


@contextmanager
def nginx_before(ports: Sequence[int]) -> Iterator[str]:
    """Run nginx in front of servers on these ports; give its URL.

    The test is skipped where there is no nginx.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        port = free_port()
        servers = "".join(f"server 127.0.0.1:{one};" for one in ports)
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, user=user, servers=servers, port=port)
        )
        process = subprocess.Popen([program, "-c", configuration, "-p", folder])
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
