"""Environment variables from a file, as systemd reads them."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from qabel_block.config.env_file import read_env_file

SECRET = "pa55word"
PIECES = [*"AB  =\n\t'\"\\;$`x&", "\\\n", "\nA=", "\nB=", 'A="', "B='", "=x"]


def _read(folder: Path, text: str) -> dict[str, str]:
    file = folder / "environment"
    file.write_text(text)
    return read_env_file(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=b", {"A": "b"}),
        ("A=b\nC=d\n", {"A": "b", "C": "d"}),
        ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
        ("A=", {"A": ""}),
        ("A=1\nA=2", {"A": "2"}),
        (" A =  b  c \n", {"A": "b  c"}),
        ("A=postgres://h/d?x=1&y=2", {"A": "postgres://h/d?x=1&y=2"}),
        ("A=host=h user=u", {"A": "host=h user=u"}),
        ("A=$HOME `x` #no comment", {"A": "$HOME `x` #no comment"}),
        ("# A=b\n; A=b\n  # A=b\nnothing\n\n", {}),
        ("# A=b \\\nC=d", {"C": "d"}),
        ("export A=b\n1A=b\nA-B=c", {}),
        ('A="b # \\" \\\\ \\$ \\n \\\nc"', {"A": 'b # " \\ $ \\n c'}),
        ("A='b \"\\'", {"A": 'b "\\'}),
        ("A='b\nc'", {"A": "b\nc"}),
        ("A='b' \"c\"d", {"A": "bcd"}),
        ("A=b'c'", {"A": "b'c'"}),
        ("A=b \\\n  c", {"A": "b   c"}),
        ("A=\\'b\\\\", {"A": "'b\\"}),
        ("A=ä", {"A": "ä"}),
    ],
)
def test_format(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    """Quotes, escapes, continued lines and comments mean what systemd.exec(5)
    says; nothing is expanded."""
    assert _read(tmp_path, text) == expected


def test_unreadable(tmp_path: Path) -> None:
    """A file that can't be read is a usage error, with nothing that is in it."""
    (tmp_path / "latin").write_bytes(f"A={SECRET}ä".encode("latin-1"))
    for name in ("nowhere", ".", "latin"):
        with pytest.raises(UsageError) as caught:
            read_env_file(tmp_path / name)
        assert SECRET not in str(caught.value)


def test_as_systemd(tmp_path: Path) -> None:
    """Files of random text have the variables that systemd finds in them."""
    folder = Path("/usr/lib/x86_64-linux-gnu/systemd")
    libraries = sorted(folder.glob("libsystemd-shared-*.so"))
    if not libraries:
        pytest.skip("systemd's library is not on this machine")
    shared, libc = ctypes.CDLL(str(libraries[0])), ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.fclose.argtypes = [ctypes.c_void_p]
    strings = ctypes.POINTER(ctypes.c_char_p)
    shared.load_env_file.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(strings))
    ]

    def theirs() -> dict[str, str]:
        path = str(tmp_path / "environment").encode()
        file, found = libc.fopen(path, b"r"), strings()
        assert shared.load_env_file(file, path, ctypes.byref(found)) >= 0
        libc.fclose(file)
        variables: dict[str, str] = {}
        while found and (line := found[len(variables)]) is not None:
            name, _, value = line.decode().partition("=")
            variables[name] = value
        return {name: variables[name] for name in variables if name in ("A", "B")}

    chosen = random.Random(20270115)
    for _ in range(2000):
        text = "".join(chosen.choices(PIECES, k=chosen.randrange(1, 20)))
        if ";" in text and "\\\n" in text:
            continue  # systemd 254 changed what continues a comment
        ours = _read(tmp_path, text)
        assert {n: ours[n] for n in ours if n in ("A", "B")} == theirs(), repr(text)
