"""`bazar audit list`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.audit import LIST, AuditEvent, EventFilters, ListEvents, Outcome
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.times import moment
from bazar_cli.runtime.views.audit import EVENT
from bazar_cli.services import audit


@command(
    LIST,
    view=EVENT,
    examples=(
        "bazar audit list --org acme --since 2026-01-01",
        "bazar audit list --target ada@example.com --action users -o json",
    ),
)
def run(
    run: Run[AuditEvent],
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
    limit: Annotated[int, Option("--limit", help="events a page, 1 to 1000 (default 50)", metavar="N")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Option("--cursor", help="continue an earlier page", metavar="CURSOR")] = None,
    all_pages: Annotated[bool, Option("--all", help="every page")] = False,
) -> None:
    """List the events that you can see, newest first."""
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
    asked = ListEvents(filters, limit, cursor)
    grant = run.authorize(asked)
    run.show_pages(lambda page: audit.list_page(run.system, grant, page), asked, every=all_pages)
