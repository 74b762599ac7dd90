"""Several processes that serve together (``--processes``).

The first process opens the listening sockets and starts workers, which inherit
them; it serves no requests itself. Workers are the same command with the same
arguments, so a worker that is started later reads what has changed meanwhile:
certificates, configuration files, a newly installed release.
"""
