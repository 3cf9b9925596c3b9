"""Impacts that are confirmed by a name: the email of a user, or the name of the database."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bazar_cli.domain.command_lines import command_line, option
from bazar_cli.domain.consent import Impact, Word

if TYPE_CHECKING:
    from bazar_cli.domain.entities import User


def on_user(user: User, verb: str, text: str) -> Impact:
    """Return the impact of `bazar users VERB`, which the email of the user confirms.

    Parameters: `text` says what it does.
    """
    return Impact(
        text=text,
        question=f"Type the email to {verb} this user",
        command=command_line(f"users {verb}", user.email, confirm=user.email),
        subject=(verb, str(user.id)),
        details={"user_id": str(user.id)},
        word=Word(user.email, "the email of the user", "users.confirm_mismatch", any_case=True),
    )


def on_database(
    database: str,
    command: str,
    text: str,
    details: Mapping[str, object] = MappingProxyType({}),
    subject: tuple[str, ...] = (),
) -> Impact:
    """Return the impact of a command which the name of the database confirms.

    Parameters: `command` is the command line without --confirm; `text` says what it does; `subject` is what must be the
    same when it is done, beside the command.
    """
    return Impact(
        text=text,
        question=f"Type {database} to do it",
        command=f"{command} {option('confirm', database)}",
        subject=(command, *subject),
        details={"database": database, **details},
        word=Word(database, "the name of the database", "db.confirm_mismatch"),
    )
