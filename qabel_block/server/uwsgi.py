"""Serves in the workers of uWSGI.

uWSGI opens the sockets, starts the workers and reloads them. Each worker runs this
file in place of a loop of its own; nothing of WSGI is used, and the sockets speak
HTTP whatever uWSGI takes them for::

    uwsgi --master --processes 4 --http-socket :8888 \\
        --python-worker-override /.../site-packages/qabel_block/server/uwsgi.py \\
        --pyargv '--psql-dsn dbname=qabel-block --local-storage /srv/qabel-block'

``--pyargv`` takes the options of ``twist qabel-block``. uWSGI splits them at spaces
and knows no quotes; what has spaces goes into the environment. Where to listen and
how many processes there are is said to uWSGI. With ``--prometheus-port`` each worker
serves its own metrics, on that port plus its number.
"""

from __future__ import annotations

import os
import signal

_STOPPING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""How uWSGI tells a worker to end. It starts another one if it is to go on."""


def main() -> None:
    """Run as a worker, which can be told to end from now on.

    To import the rest takes a second. Until then uWSGI has SIGTERM and SIGHUP ignored,
    and SIGINT too if whatever started it has, as a script has for what it starts in the
    background; but it tells a worker once, and waits for it to end.
    """
    for number in _STOPPING:
        signal.signal(number, lambda *_: os._exit(0))
    from qabel_block.server.uwsgi_worker import run_worker

    run_worker(_STOPPING)


if __name__ == "__main__":
    main()
