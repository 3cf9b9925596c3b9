"""`bazar orgs update`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.orgs.organizations import UPDATE, UpdateOrganization
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import ORGANIZATION


@command(
    UPDATE,
    view=ORGANIZATION,
    examples=('bazar orgs update acme --name "Acme International"', "bazar orgs update acme --slug acme-inc --dry-run"),
)
def run(
    run: Run[Organization],
    org: Annotated[str, Argument(help="id or slug")],
    name: Annotated[str | None, Option("--name", help="new display name", metavar="NAME")] = None,
    slug: Annotated[
        str | None, Option("--slug", help="new short name; others can take the old one", metavar="SLUG")
    ] = None,
) -> None:
    """Change the name or the short name of an organization."""
    if name is None and slug is None:
        raise UsageError("orgs.nothing_to_update", "nothing to change was given", hint="give --name or --slug")
    updated = run.perform(organizations.update, UpdateOrganization(org, name, slug))
    if not updated.changed:
        run.notice(f"{updated.organization.slug} already has these values; nothing was changed")
    run.show(updated.organization)
