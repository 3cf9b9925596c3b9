"""Consent by a name typed again: what a command named with `--confirm` must be given before it acts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line, option
from bazar_cli.domain.errors import Refused
from bazar_cli.domain.texts import composed

if TYPE_CHECKING:
    from bazar_cli.domain.entities import User


_SHOWN = 80
"""So many characters of what was typed are shown: it may be anything."""


def not_it(given: str | None) -> str:
    """What an error about a confirmation says of the value given: nothing where none was."""
    return "" if given is None else f", and {_shown(given)} is not it"


def as_detail(given: str | None) -> dict[str, object]:
    """The value given, for the details of that error."""
    return {} if given is None else {"confirm": _shown(given)[1:-1]}


def _shown(given: str) -> str:
    return repr(given if len(given) <= _SHOWN else f"{given[:_SHOWN]}...")


def confirmed_by_email(grant: Grant, user: User, confirm: str | None, doing: str, verb: str) -> None:
    """Demand the user's email, in any case. A dry run needs no consent; what was given wrong is wrong there too.

    Parameters: `doing` and `verb` say what is done to the user: `deleting`, of `users delete`.
    Raises: Refused `users.confirm_mismatch`, with the exact command.
    """
    if grant.dry_run if confirm is None else confirm.lower() == user.email:
        return
    raise Refused(
        "users.confirm_mismatch",
        f"{doing} {user.email} needs its email as confirmation{not_it(confirm)}",
        hint=f"to do it: `{command_line(f'users {verb}', user.email, confirm=user.email)}`",
        details={"user_id": str(user.id), **as_detail(confirm)},
    )


def confirmed_by_database(
    grant: Grant,
    database: str,
    confirm: str | None,
    doing: str,
    command: str,
    *,
    needed: bool = True,
    goes: str = "",
    details: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Demand the name of the database. A dry run needs no consent; what was given wrong is wrong there too.

    Parameters: `doing` says what is done: `dropping shop`; `command` does it, without --confirm; `needed` is false
    where nothing changes; `goes` is a sentence about what would go, `details` the same for machines.
    Raises: Refused `db.confirm_mismatch`, with the exact command.
    """
    if (grant.dry_run or not needed) if confirm is None else composed(confirm) == composed(database):
        return
    raise Refused(
        "db.confirm_mismatch",
        f"{doing} needs the name of the database as confirmation{not_it(confirm)}" + (f". {goes}" if goes else ""),
        hint=f"to do it: `{command} {option('confirm', database)}`",
        details={"database": database, **details, **as_detail(confirm)},
    )
