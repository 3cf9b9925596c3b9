"""Rows of new users that Postgres did not take: what that means for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.imports import Status
from bazar_cli.services.users.errors import taken_over

if TYPE_CHECKING:
    from collections.abc import Collection

    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.imports.creations import Chunk, Ended, FoundUser
    from bazar_cli.domain.authz.spec import Grant
    from bazar_cli.domain.imports.imports import ImportRun


def of_ours(found: FoundUser, *, is_whole: bool) -> Ended | None:
    """Return the outcome of a row whose user this run inserted, and another command settled or deleted.

    None if another command still works on the user. Parameters: `is_whole` says that the user certainly has all that
    the file has.
    """
    from bazar_cli.adapters.postgres.imports.creations import Ended

    if not found.is_there:
        return _failed(found.line, taken_over(found.email, "removed the user"))
    if found.pending is Pending.CREATE:
        return None
    if is_whole:
        return Ended(found.line, Status.CREATED)
    return _failed(found.line, taken_over(found.email, "finished the user, perhaps without what the file has"))


def of_others(connection: Connection, grant: Grant, run: ImportRun, chunk: Chunk, lines: Collection[int]) -> int:
    """End rows of new users whom other users prevent, each as if it were compared now; return how many ended.

    Those whose user is gone again, is being created by another command, or is to be updated, remain open.
    """
    from bazar_cli.adapters.postgres.imports import creations, incoming

    taken = [
        _failed(found.line, id_taken(found.email))
        for found in creations.look_up(connection, chunk, lines)
        if found.is_there and not found.has_address
    ]
    count = creations.end(connection, chunk, taken)
    others = set(lines).difference(ended.line for ended in taken)
    return count + incoming.decide_again(connection, grant.reach, run, others)


def id_taken(email: str) -> Conflict:
    """Return the error for the id of a row that another user has."""
    return Conflict("users.id_taken", f"another user has the id that the file has for {email}")


def _failed(line: int, error: Conflict) -> Ended:
    from bazar_cli.adapters.postgres.imports.creations import Ended

    return Ended(line, Status.FAILED, error.code, error.message)
