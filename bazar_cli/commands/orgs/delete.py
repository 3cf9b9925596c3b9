"""`bazar orgs delete`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.orgs.organizations import DELETE, DeleteOrganization, Dissolution
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import DISSOLUTION


@command(
    DELETE,
    view=DISSOLUTION,
    examples=("bazar orgs delete acme --dry-run", "bazar orgs delete acme --confirm acme"),
)
def run(
    run: Run[Dissolution],
    org: Annotated[str, Argument(help="id or slug")],
    confirm: Annotated[str | None, Option("--confirm", help="the slug, typed again", metavar="SLUG")] = None,
) -> None:
    """Delete an organization and its memberships; its users are kept.

    Only superusers can change users without an organization. `left_alone` counts the users that have no other one.
    """
    run.show(run.perform(organizations.delete, DeleteOrganization(org, confirm)))
