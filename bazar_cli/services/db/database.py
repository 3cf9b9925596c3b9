"""The database itself: its revision, its marker, and that it is there at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.db import database as use_cases
from bazar_cli.domain.db.database import (
    CreateDatabase,
    CreatedDatabase,
    CurrentRevision,
    DatabaseMarker,
    DropDatabase,
    DroppedDatabase,
    GetCurrent,
    SetMarker,
    ShowMarker,
    urls_differ,
)
from bazar_cli.domain.db.migrations import checked_environment, refuse_by_marker
from bazar_cli.domain.errors import Conflict, Refused
from bazar_cli.services.consent import on_database

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.server import Server
    from bazar_cli.services.gate.backends import Backends


def current(backends: Backends, grant: Grant, _request: GetCurrent) -> CurrentRevision:
    """Return the revision that the database is at."""
    grant.demand(use_cases.CURRENT)
    status = backends.migrator(grant).status()
    return CurrentRevision(status.current, status.current == status.head)


def marker(backends: Backends, grant: Grant, _request: ShowMarker) -> DatabaseMarker:
    """Return what the database says of itself. Raises: Conflict `db.no_marker`, `db.not_migrated`."""
    grant.demand(use_cases.SHOW_MARKER)
    from bazar_cli.adapters.postgres import marker as markers

    with backends.database().read(grant) as connection:
        return markers.find(connection)


def set_marker(backends: Backends, grant: Grant, request: SetMarker) -> DatabaseMarker:
    """Name the environment and protect the database, or not; what it says already writes nothing.

    Raises: UsageError `db.environment_name`; Refused `db.confirm_mismatch`; Conflict `db.no_marker`.
    """
    grant.demand(use_cases.SET_MARKER)
    from bazar_cli.adapters.postgres import marker as markers
    from bazar_cli.adapters.postgres.audit import events

    checked_environment(request.environment)
    with backends.database().transaction(grant) as connection:
        before = markers.lock(connection)
        same = (before.environment, before.protected) == (request.environment, request.protected)
        mark = "protected" if request.protected else "unprotected"
        command = command_line(
            "db env set", request.environment, protected=request.protected, unprotected=not request.protected
        )
        text = f"this marks {before.database} as {request.environment}, {mark}"
        impact = on_database(before.database, command, text)
        check_consent(impact, request.confirm, optional=grant.dry_run or same)
        if same:
            return before
        markers.change(connection, request.environment, protected=request.protected)
        after = markers.find(connection)
        change = events.Change("database", after.database, before=_said(before), after=_said(after))
        events.record(connection, grant, change)
        return after


def create(backends: Backends, grant: Grant, _request: CreateDatabase) -> CreatedDatabase:
    """Make the database of the target where its server has none.

    Nothing is recorded: there is no audit log yet. Raises: Conflict `db.may_not_create`; BackendUnavailable.
    """
    grant.demand(use_cases.CREATE)
    server = backends.server(grant)
    created = not server.exists() if grant.dry_run else server.create()
    return CreatedDatabase(server.host, server.database, created, planned=grant.dry_run)


def drop(backends: Backends, grant: Grant, request: DropDatabase) -> DroppedDatabase:
    """Drop the database of the target, with its audit log; nothing overrides the marker.

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
            f"{server.database} is in use by {len(sessions)} session{'s' * (len(sessions) != 1)}: {named}",
            hint="stop these programs, then run it again",
            details={"sessions": [{"pid": s.pid, "application": s.application, "user": s.user} for s in sessions]},
        )
    if not grant.dry_run:
        server.drop()
    return DroppedDatabase(server.host, server.database, environment)


def _unprotected(backends: Backends, grant: Grant, server: Server) -> str:
    """The environment of a database that may be dropped: the one where the gate knew the operator, unprotected."""
    from bazar_cli.adapters.postgres import marker as markers

    name = server.database
    if server.keeps_it:
        raise Refused(
            "db.maintenance_database",
            f"{name} is a database that its server needs",
            hint="keep bazar's tables in a database of their own",
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


def _said(marker: DatabaseMarker) -> dict[str, object]:
    return {"environment": marker.environment, "protected": marker.protected}
