"""The table of the commands. What a command needs is imported when it is called."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from qabel_block.cli.context import CommandContext


Work: TypeAlias = "Callable[[CommandContext], Coroutine[Deferred[Any], Any, int]]"
"""Does what a command is for, and returns the exit status."""


def no_arguments(_parser: ArgumentParser) -> None:
    """Add nothing."""


@frozen
class Implementation:
    """What a module has for one command.

    :ivar add_arguments: adds those that only this command has.
    :ivar options: names of the server's options that it uses.
    :ivar others: names of those that it takes and has no use for; the help leaves them
        out.
    """

    work: Work
    options: tuple[str, ...]
    add_arguments: Callable[[ArgumentParser], None] = no_arguments
    others: tuple[str, ...] = ()


@frozen
class Command:
    """One command.

    :ivar name: one word, or two for a command of a group (``user add``).
    :ivar module: has its :class:`Implementation` in ``COMMANDS``, by name.
    """

    name: str
    module: str
    help: str

    def load(self) -> Implementation:
        """Import it."""
        module = import_module(f"qabel_block.cli.{self.module}")
        found: Implementation = module.COMMANDS[self.name]
        return found


_TABLE = (
    Command(
        "migrate",
        "migrate",
        "Make the ledger's tables, or bring them to the newest schema.",
    ),
    Command(
        "status",
        "status",
        "Say whether database, storage, cache, push and accounts can be used, and how"
        " much garbage waits. No server has to run, and nothing is changed.",
    ),
    Command(
        "check-config",
        "check_config",
        "Check the server's options and environment, and say what they mean. Nothing is"
        " connected to; see status for that.",
    ),
    Command(
        "verify",
        "verify",
        "Compare the ledger with the storage: missing, damaged and unknown blobs, and"
        " what users store. The server may run meanwhile.",
    ),
    Command(
        "collect",
        "collect",
        "Delete garbage now: blobs that were replaced or deleted longer ago than the"
        " grace period. The server does so by itself from time to time.",
    ),
    Command(
        "backup",
        "backup",
        "Copy a SQLite ledger and local storage into a directory while the server runs."
        " Run again with the same directory, it copies only what is new. The directory"
        " is one for --standalone.",
    ),
    Command(
        "usage",
        "usage",
        "List the users who store most, and those from whom most is downloaded.",
    ),
    Command(
        "adopt",
        "adopt",
        "Enter in the ledger what the legacy server has stored, where it is, and"
        " correct what users store. The server may run meanwhile.",
    ),
    Command(
        "rebuild",
        "rebuild",
        "Make the ledger's objects from what is in the storage: the newest version of"
        " each path. Users and prefixes must be in the ledger, from a backup. Stop the"
        " server first.",
    ),
    Command("user add", "user", "Make a user, and print the first token, once."),
    Command("user list", "user", "List all users."),
    Command("user show", "user", "Show one user."),
    Command("user set", "user", "Change a user's quotas or name."),
    Command(
        "user disable", "user", "Disable a user, who may then only read and delete."
    ),
    Command("user enable", "user", "Enable a user who was disabled."),
    Command(
        "user delete",
        "user_delete",
        "Delete a user and all that the user has: tokens and access at once, then"
        " prefixes, objects, repositories and traffic. It can be interrupted and run"
        " again. Backups keep what they have.",
    ),
    Command("token add", "token", "Make another token for a user, and print it, once."),
    Command("token list", "token", "List a user's tokens."),
    Command("token revoke", "token", "Revoke a token, for good."),
    Command(
        "repository list",
        "repository",
        "List the repositories of a user, or all: files, bytes, and when a snapshot"
        " came last.",
    ),
    Command(
        "repository attach",
        "repository",
        "Make a user's repository of a prefix that storage has and the ledger does not"
        " know, as after the ledger was lost.",
    ),
    Command(
        "repository delete",
        "repository",
        "Delete a repository with all its files. It can be interrupted and run again."
        " Backups keep what they have.",
    ),
)

COMMANDS = {command.name: command for command in _TABLE}

GROUPS = {
    "user": "Add, list, change or delete users of built-in accounts. Status 1: there is"
    " no such user, or the name is taken.",
    "token": "Add, list or revoke their tokens. Status 1: there is no such user or"
    " token.",
    "repository": "List, delete or attach restic repositories. Status 1: there is no"
    " such user or repository.",
}
"""Helps of the first words of commands that have two."""
