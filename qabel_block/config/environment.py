"""Options from the environment, and from files that it names (PROTOCOL section 6).

An empty variable counts as one that is not set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from twisted.python.usage import UsageError

from qabel_block.config.option import PREFIX, Given, Option
from qabel_block.config.options import OPTIONS
from qabel_block.names import shown

FILE_SUFFIX = "_FILE"
LARGEST_FILE = 65_536
"""Bytes that a file with one option's value may have."""

OTHER_VARIABLES = frozenset(
    {
        "QABEL_BLOCK_WORKER",  # from the supervisor to its workers
    }
)
"""Known variables that are no options."""

TEST_VARIABLES = f"{PREFIX}TEST_"
"""What the names of the tests' variables begin with."""


_OF_KUBERNETES = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT.*|PORT_[0-9]+_.*)"
)


def given_in_environment(
    option: Option, environment: Mapping[str, str]
) -> Given | None:
    """Return an option's value from its variable, or from the file that the
    variable with ``_FILE`` names.

    :raises UsageError: if it is in both, or the file can't be read.
    """
    variable, file_variable = option.variable, option.variable + FILE_SUFFIX
    text, file = environment.get(variable), environment.get(file_variable)
    if text and file:
        raise UsageError(f"{variable} and {file_variable} exclude each other")
    if file:
        return Given(file_variable, _texts(option, _read(file_variable, file)))
    return Given(variable, _texts(option, text)) if text else None


def refuse_unknown_variables(environment: Iterable[str]) -> None:
    """Check the names of all variables that begin like ours.

    :raises UsageError: if there is one that nobody reads.
    """
    given = sorted(environment)
    for name in given:
        if _OF_KUBERNETES.fullmatch(name):
            raise UsageError(
                f"{name} is what Kubernetes sets for a Service of that name, and no"
                " option; put enableServiceLinks: false into the pod's spec"
            )
    known = {option.variable for option in OPTIONS}
    known |= {variable + FILE_SUFFIX for variable in known} | OTHER_VARIABLES
    for name in given:
        if not name.startswith(PREFIX) or name.startswith(TEST_VARIABLES):
            continue
        if name not in known:
            similar = suggestion(name, known, PREFIX)
            raise UsageError(f"{shown(name)} is no known variable{similar}")


def suggestion(name: str, known: Iterable[str], common: str) -> str:
    """Return a question about the most similar name, empty if none is similar.

    :param common: what all names begin with.
    """
    names = {one.removeprefix(common).lower(): one for one in sorted(known)}
    rest = name.removeprefix(common).lower()
    begun = [one for one in names if rest and one.startswith(rest)]
    similar = begun or get_close_matches(rest, names, n=1, cutoff=0.7)
    return f"; did you mean {names[similar[0]]}?" if similar else ""


def _texts(option: Option, text: str) -> list[str]:
    if not option.repeatable or text.split(" ") == [""]:
        return [text]
    return [one for one in text.split(" ") if one]


def _read(variable: str, path: str) -> str:
    """Return the content of a file without one newline at its end."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such path"
        raise UsageError(f"{variable}: can't read {shown(path)}: {reason}") from None
    if len(content) > LARGEST_FILE:
        raise UsageError(
            f"{variable}: {shown(path)} is larger than {LARGEST_FILE} bytes"
        )
    return content.decode("utf-8", "surrogateescape").removesuffix("\n")
