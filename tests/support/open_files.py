"""What this process has open."""

import os
from pathlib import Path


def open_below(directory: Path) -> list[str]:
    """Return all files and folders that are open there.

    Only there, because sockets and pipes of other tests come and go meanwhile.
    """
    root = os.path.realpath(directory)
    targets = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
    return [target for target in targets if target.startswith(root)]
