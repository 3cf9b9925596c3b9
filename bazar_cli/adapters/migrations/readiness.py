"""The probe of a server: it checks that Postgres has the revision of this release, and reads no rows of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.migrations.revision_files import applied_by, revisions, script_location
from bazar_cli.adapters.postgres.connections import begin
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.errors import Conflict

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connections
    from bazar_cli.domain.target import Target

_SECONDS = 2.0


def check(target: Target, connections: Connections) -> None:
    """Check that Postgres answers and has every revision of this release.

    A database that is ahead is no problem: a newer release migrates before it replaces this one.
    Raises: Conflict `db.not_migrated`, `db.no_database`; BackendUnavailable, UsageError as `translate` says.
    """
    try:
        with connections.lent() as connection:
            connection.execute(begin(read_only=True, lock_seconds=_SECONDS))
            try:
                found = connection.execute("SELECT version_num FROM bazar.alembic_version").fetchall()
            finally:
                connection.rollback()
    except psycopg.Error as error:
        raise translate(error, target) from error
    location = script_location()
    known = [revision.id for revision in revisions(location)]
    current = frozenset(str(number) for (number,) in found)
    if not current or (current <= set(known) and known[-1] not in applied_by(location, current)):
        raise Conflict(
            "db.not_migrated",
            f"the database is at revision {', '.join(sorted(current)) or 'none'}, and this release needs {known[-1]}",
            hint="run `bazar db migrate`",
        )
