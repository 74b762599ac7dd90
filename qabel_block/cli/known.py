"""What the operator knows of, so that it is no finding any more: names in a file."""

from __future__ import annotations

import os
from pathlib import Path

from qabel_block.cli.runner import CommandFailed


class KnownNames:
    """Names in a file, one a line. Lines that begin with ``#`` are comments.

    :param path: the file, which need not be there; ``None`` if nothing is known.
    :param remember: whether names that are not known yet are added to it.
    :ivar met: how many of those that were asked for are known.
    :raises CommandFailed: if it can't be read.
    """

    def __init__(self, path: Path | None, remember: bool) -> None:
        if remember and path is None:
            raise CommandFailed("--remember needs --known FILE, to which to add")
        self.path = path
        self.met = 0
        self._remember = remember
        text = "" if path is None else _read(path)
        self._names = {line for line in text.splitlines() if line[:1] not in ("", "#")}
        self._new: list[str] = []
        self._unended = text[-1:] not in ("", "\n")

    def know(self, name: str) -> bool:
        """Say whether a name is known, or is from now on."""
        known = name in self._names
        if not known and self._remember:
            self._names.add(name)
            self._new.append(name)
            known = True
        self.met += known
        return known

    def save(self) -> None:
        """Add to the file what is new.

        :raises CommandFailed: if it can't be written.
        """
        if self.path is None or not self._new:
            return
        lines = "\n" * self._unended + "".join(f"{name}\n" for name in self._new)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _failed("write", self.path, error) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _failed("read", path, error) from error


def _failed(
    what: str, path: Path, error: OSError | UnicodeDecodeError
) -> CommandFailed:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return CommandFailed(f"--known: can't {what} {path}: {reason}")
