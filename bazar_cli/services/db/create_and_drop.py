"""Creating the database of a target, and dropping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.db import create_and_drop as use_cases
from bazar_cli.domain.db.create_and_drop import CreateDatabase, CreatedDatabase, DropDatabase, DroppedDatabase
from bazar_cli.domain.db.marker import urls_differ
from bazar_cli.domain.db.migrations import refuse_by_marker
from bazar_cli.domain.errors import Conflict, Refused
from bazar_cli.domain.texts import counted
from bazar_cli.services.consent import on_database

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.server import Server
    from bazar_cli.services.gate.backends import Backends


def create(backends: Backends, grant: Grant, _request: CreateDatabase) -> CreatedDatabase:
    """Create the database of the target, unless it exists. There is no audit log to record it yet.

    Raises: Conflict `db.may_not_create`; BackendUnavailable.
    """
    grant.demand(use_cases.CREATE)
    server = backends.server(grant)
    created = not server.exists() if grant.dry_run else server.create()
    return CreatedDatabase(server.host, server.database, created, planned=grant.dry_run)


def drop(backends: Backends, grant: Grant, request: DropDatabase) -> DroppedDatabase:
    """Drop the database of the target, with its audit log. Nothing overrides the marker.

    Raises: Refused `db.maintenance_database`, `db.unmarked`, `db.protected`, `db.confirm_mismatch`; Conflict
    `db.urls_differ`, `db.in_use`, `db.may_not_drop`; BackendUnavailable `postgres.busy`, `postgres.read_only`.
    """
    grant.demand(use_cases.DROP)
    server = backends.server(grant)
    environment = _unprotected(backends, grant, server)
    text = f"this drops the database {server.database} on {server.host}"
    check_consent(on_database(server.database, "bazar db drop", text), request.confirm, optional=grant.dry_run)
    backends.database().close()
    sessions = server.sessions()
    if sessions:
        named = ", ".join(f"pid {s.pid} ({s.application}, user {s.user})" for s in sessions)
        raise Conflict(
            "db.in_use",
            f"{server.database} is in use by {counted(len(sessions), 'session')}: {named}",
            hint="stop these programs, then run the command again",
            details={"sessions": [{"pid": s.pid, "application": s.application, "user": s.user} for s in sessions]},
        )
    if not grant.dry_run:
        server.drop()
    return DroppedDatabase(server.host, server.database, environment)


def _unprotected(backends: Backends, grant: Grant, server: Server) -> str:
    """Return the environment of a database that is unprotected, and the one where the gate found the operator."""
    from bazar_cli.adapters.postgres import marker as markers

    name = server.database
    if server.is_maintenance_database:
        raise Refused(
            "db.maintenance_database",
            f"{name} is a database that its server needs",
            hint="keep bazar's tables in a separate database",
        )
    found = server.marker()
    if found is not None:
        with backends.database().read(grant) as connection:
            known = markers.find(connection)
        if found[0] != known.id:
            raise urls_differ(known.database, name)
    environment = refuse_by_marker(server.host, name, found and found[1], "dropping it").environment
    server.refuse_read_only()
    return environment
