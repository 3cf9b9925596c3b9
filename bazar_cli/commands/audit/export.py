"""`bazar audit export`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.audit import EXPORT, AuditEvent, EventFilters, Outcome
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.times import moment
from bazar_cli.runtime.views.audit import EVENT
from bazar_cli.services import audit


@command(
    EXPORT,
    view=EVENT,
    examples=(
        "bazar audit export events.jsonl --since 2026-01-01",
        "bazar audit export --action users -o csv | gzip >users.csv.gz",
    ),
)
def run(
    run: Run[AuditEvent],
    file: Annotated[str | None, Argument(help="a new file, readable by you alone; - or none for a pipe")] = None,
    operator: Annotated[
        str | None, Option("--operator", help="by this user: an id, or the email they had", metavar="USER")
    ] = None,
    target: Annotated[
        str | None, Option("--target", help="about this user, organization or plan, gone or not", metavar="REF")
    ] = None,
    action: Annotated[
        str | None, Option("--action", help="a use case: users.create, or users for all of them", metavar="ACTION")
    ] = None,
    outcome: Annotated[Outcome | None, Option("--outcome", help="done, denied or undone", metavar="OUTCOME")] = None,
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None,
    since: Annotated[str | None, Option("--since", help="at or after this date or time", metavar="TIME")] = None,
    until: Annotated[str | None, Option("--until", help="before this date or time", metavar="TIME")] = None,
    request: Annotated[str | None, Option("--request", help="of the run with this request id", metavar="ID")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="replace FILE if it is there")] = False,
) -> None:
    """Write all events that you can see, oldest first, as JSON Lines unless -o says csv, json, yaml or ids."""
    filters = EventFilters(
        operator,
        target,
        action,
        outcome,
        org,
        moment(since, "--since") if since is not None else None,
        moment(until, "--until") if until is not None else None,
        request,
    )
    grant = run.authorize(filters)
    run.export(audit.export(run.system, grant, filters), file, overwrite=overwrite)
