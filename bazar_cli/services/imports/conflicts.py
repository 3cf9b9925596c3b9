"""Rows of new users that Postgres did not take: what that means for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.imports import ImportRun, OnConflict, Status
from bazar_cli.services.users.errors import taken_over

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.imports.creations import Ended, FoundUser

_FINISHED = "another command finished the user, perhaps without the password of the file"


def outcome(run: ImportRun, found: FoundUser, *, ours: bool, has_hash: bool = False) -> Ended | None:
    """Return the outcome of a row whose user could not be inserted, taken up or settled; None if it remains open.

    Parameters: `ours` says that this run inserted the user before.
    """
    from bazar_cli.adapters.postgres.imports.creations import Ended

    if ours and not found.is_there:
        gone = taken_over(found.email, "removed the user")
        return Ended(found.line, Status.FAILED, gone.code, gone.message)
    if ours and found.pending is Pending.CREATE:
        return None  # another command holds the lease
    if ours:
        return Ended(found.line, Status.CREATED, message=_FINISHED if has_hash else None)
    if found.is_there and not found.has_address:
        return _failed(found.line, id_taken(found.email))
    if found.is_there or found.address_taken:
        return existing(run, found.line, found.email)
    return None  # the user that was in the way is gone again


def existing(run: ImportRun, line: int, email: str) -> Ended:
    """Return the outcome of a row whose user was created after the file was compared."""
    from bazar_cli.adapters.postgres.imports.creations import Ended
    from bazar_cli.adapters.postgres.users.changes import email_taken

    if run.on_conflict is OnConflict.SKIP:
        return Ended(line, Status.SKIPPED)
    return _failed(line, email_taken(email, creating=False))


def id_taken(email: str) -> Conflict:
    """Return the error for the id of a row that another user has."""
    return Conflict("users.id_taken", f"another user has the id that the file has for {email}")


def _failed(line: int, error: Conflict) -> Ended:
    from bazar_cli.adapters.postgres.imports.creations import Ended

    return Ended(line, Status.FAILED, error.code, error.message)
