"""A Klein route that does nothing: the most that Klein can do here.

``python -m bench.bare`` prints the port on which it listens.
"""

from __future__ import annotations

import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site

_BODY = b"x" * 1024
app = Klein()


@app.route("/<path:path>")
def answer(request: IRequest, path: str) -> bytes:
    """Answer 1 KiB, whatever is asked for."""
    return _BODY


def main() -> None:
    """Serve until killed."""
    site: Any = Site(app.resource())
    address: Any = reactor.listenTCP(0, site, interface="127.0.0.1").getHost()
    sys.stdout.write(f"{address.port}\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    main()
