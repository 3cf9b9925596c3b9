"""New users of a run by SQL, in both schemas at once: a chunk is one transaction, so no row is ever half done.

Only where the database of DATABASE_URL holds the Auth of the same project, and `auth.*` has a schema that this version
knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.imports.imports import ImportRun, Status
from bazar_cli.domain.texts import counted
from bazar_cli.services.imports import conflicts, rights
from bazar_cli.services.users import leases
from bazar_cli.services.users.new_identity import taken_at_supabase

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends

CHUNK = 2_000
"""Rows of one transaction."""
_SHOWN = 5
"""Differences in the message of an error."""


def refuse_unknown_auth(backends: Backends, grant: Grant) -> None:
    """Make sure that identities may be written by SQL.

    Raises: Conflict `imports.auth_elsewhere`, `imports.auth_schema_unknown` with the differences.
    """
    with backends.database().read(grant) as connection:
        _refuse_unknown_auth(connection, grant)


class ViaDatabase:
    """Creates the users and identities of one run, chunk by chunk."""

    def __init__(self, run: ImportRun, ended: Callable[[], bool]) -> None:
        self._run = run
        self._ended = ended
        self._size = CHUNK
        self.given_up = frozenset[int]()
        """No outcome remains unknown."""

    def work(self, backends: Backends, grant: Grant, until: float, done: Callable[[int], None]) -> bool:
        """Create users until a monotonic time, or until no row is free; return whether any row was.

        Parameters: `done` gets how many rows ended. Raises: as `refuse_unknown_auth` and `leases.when_free`.
        """
        refuse_unknown_auth(backends, grant)
        found = False
        while not self._ended():
            count = self._next(backends, grant)
            found = found or count > 0
            done(count)
            if count == 0 or time.monotonic() >= until:
                break
        return found

    def _next(self, backends: Backends, grant: Grant) -> int:
        """Create the next chunk. Where the database rejects it, halve it down to the row that is to blame."""
        from bazar_cli.adapters.postgres.imports.with_identities import ChunkRejected

        while True:
            try:
                count = leases.when_free(lambda c: self._create(c, grant, self._size), backends, grant)
            except ChunkRejected as rejected:
                if self._size > 1:
                    self._size //= 2
                    continue
                count = leases.when_free(partial(self._reject, reason=rejected.reason), backends, grant)
            self._size = min(CHUNK, self._size * 2)
            return count

    def _create(self, connection: Connection, grant: Grant, size: int) -> int:
        from bazar_cli.adapters.postgres.imports import auth_schema, creations, with_identities
        from bazar_cli.adapters.postgres.users import users

        run, chunk = self._run, creations.Chunk(self._run.id)
        lines = creations.lock(connection, chunk, size)
        if not lines:
            return 0
        migration = auth_schema.last_migration(connection)
        if migration not in auth_schema.KNOWN_MIGRATIONS:
            _refuse_unknown_auth(connection, grant)
        ended = rights.refused(connection, grant, run, chunk, lines)
        allowed = set(lines).difference(e.line for e in ended)
        with with_identities.rejections():
            by_user, by_identity = with_identities.create(connection, chunk, allowed, users.deployment(connection))
            made = allowed - by_user - by_identity
            if "organizations" in run.columns:
                creations.join(connection, chunk, made)
        creations.record(connection, grant, chunk, made)
        for found in creations.look_up(connection, chunk, by_identity) if by_identity else ():
            taken = taken_at_supabase(found.email)
            ended.append(creations.Ended(found.line, Status.FAILED, taken.code, taken.message))
        count = len(made) + creations.end(connection, chunk, ended)
        return count + conflicts.of_others(connection, grant, run, chunk, by_user)

    def _reject(self, connection: Connection, *, reason: str) -> int:
        """End the next row, which the database does not take."""
        from bazar_cli.adapters.postgres.imports import creations

        chunk = creations.Chunk(self._run.id)
        error = Conflict("imports.row_rejected", f"the database rejected the row: {reason}")
        lines = creations.lock(connection, chunk, 1)
        ended = [creations.Ended(line, Status.FAILED, error.code, error.message) for line in lines]
        return creations.end(connection, chunk, ended)


def _refuse_unknown_auth(connection: Connection, grant: Grant) -> None:
    from bazar_cli.adapters.postgres.imports import auth_schema
    from bazar_cli.adapters.postgres.users import identities

    if not identities.readable(connection, grant.session_id):
        raise _elsewhere("the schema auth there does not have your session, or its database user may not read it")
    if not auth_schema.may_write(connection):
        raise _elsewhere("its database user may not insert into auth.users and auth.identities")
    differences = auth_schema.differences(connection)
    if differences:
        shown = [*differences[:_SHOWN]]
        if len(differences) > _SHOWN:
            shown.append(f"and {counted(len(differences) - _SHOWN, 'more difference')}")
        raise Conflict(
            "imports.auth_schema_unknown",
            f"the schema auth is not one that this version of bazar writes to: {'; '.join(shown)}",
            hint="leave out --via database: the import then creates users through Supabase Auth's API",
            details={"differences": list(differences)},
        )


def _elsewhere(why: str) -> Conflict:
    return Conflict(
        "imports.auth_elsewhere",
        f"DATABASE_URL does not lead to the Auth of this project: {why}",
        hint="leave out --via database: the import then creates users through Supabase Auth's API",
    )
