"""Which file holds which blob, below the storage directory.

A blob of the legacy server is the file of its key: ``<prefix>/a/b``. One of ours
has a ``~`` at the end of each folder's name below the prefix as well:
``<prefix>/a/b~V`` is the file ``<prefix>/a~/b~V``. So nothing ever needs a folder
where a file is, or a file where a folder is: names without ``~`` are the legacy
server's, ``name~`` is a folder and ``name~V`` a file of ours.
"""

from __future__ import annotations

from qabel_block.names import parse_blob_key

INCOMING = ".incoming"
"""The folder of files that are not yet whole; no prefix has a dot."""


def file_of(key: str) -> tuple[str, ...]:
    """Return the names of folders and file that lead to a blob.

    :raises ValueError: if this is no key of a blob.
    """
    name, version = parse_blob_key(key)
    *folders, last = name.path.split("/")
    if version is None:
        return (name.prefix, *folders, last)
    return (name.prefix, *(f"{folder}~" for folder in folders), f"{last}~{version}")


def key_of(names: tuple[str, ...]) -> str:
    """Return the key of the blob that a file holds.

    :raises ValueError: if no blob is ever in such a file.
    """
    if len(names) < 2:
        raise ValueError(f"not a blob's file: {'/'.join(names)!r}")
    prefix, *folders, last = names
    key = "/".join((prefix, *(folder.removesuffix("~") for folder in folders), last))
    if file_of(key) != names:
        raise ValueError(f"not a blob's file: {'/'.join(names)!r}")
    return key
