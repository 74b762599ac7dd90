"""Asks whoever is at the terminal before something is lost."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from qabel_block.cli.context import CommandContext, CommandParts
from qabel_block.cli.runner import CommandFailed, Interrupted
from qabel_block.ledger.erasure import Erasure
from qabel_block.operations.prefix_erasure import PrefixErasure


def add_yes(parser: ArgumentParser) -> None:
    """Add the option that answers the question beforehand."""
    parser.add_argument(
        "--yes",
        action="store_true",
        help="Do not ask. What is deleted can't be had back, but from a backup.",
    )


def confirm(context: CommandContext, what: str) -> None:
    """Ask whether to delete something, unless ``--yes`` was given.

    :raises CommandFailed: if the answer is not ``yes``.
    :raises Interrupted: if a signal comes instead.
    """
    if context.arguments.yes:
        return
    sys.stderr.write(f"Delete {what}, at once and for good? Type yes: ")
    sys.stderr.flush()
    try:
        with context.interruption.at_once():
            answer = sys.stdin.readline()
    except Interrupted:
        sys.stderr.write("\n")
        raise
    if answer.strip() != "yes":
        raise CommandFailed("not confirmed: nothing is deleted")


def prefix_erasure(parts: CommandParts) -> PrefixErasure:
    """Return what deletes prefixes of an installation."""
    return PrefixErasure(
        Erasure(parts.database), parts.ledger, parts.storage, parts.listing
    )
