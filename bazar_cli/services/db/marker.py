"""Reading and setting the marker of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import check_consent
from bazar_cli.domain.db import marker as use_cases
from bazar_cli.domain.db.marker import DatabaseMarker, SetMarker, ShowMarker
from bazar_cli.domain.db.migrations import checked_environment
from bazar_cli.services.consent import on_database

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends


def show(backends: Backends, grant: Grant, _request: ShowMarker) -> DatabaseMarker:
    """Return the marker. Raises: Conflict `db.no_marker`, `db.not_migrated`."""
    grant.demand(use_cases.SHOW_MARKER)
    from bazar_cli.adapters.postgres import marker as markers

    with backends.database().read(grant) as connection:
        return markers.find(connection)


def change(backends: Backends, grant: Grant, request: SetMarker) -> DatabaseMarker:
    """Set the environment and the protection; a marker with these values is not written.

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
        change = events.Change("database", after.database, before=_fields(before), after=_fields(after))
        events.record(connection, grant, change)
        return after


def _fields(marker: DatabaseMarker) -> dict[str, object]:
    return {"environment": marker.environment, "protected": marker.protected}
