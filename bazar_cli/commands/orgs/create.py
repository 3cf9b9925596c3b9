"""`bazar orgs create`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.orgs.organizations import CREATE, CreatedOrganization, CreateOrganization
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import CREATED


@command(
    CREATE,
    view=CREATED,
    examples=('bazar orgs create "Acme Inc."', 'bazar orgs create "Acme Inc." --slug acme --owner ada@example.com'),
)
def run(
    run: Run[CreatedOrganization],
    name: Annotated[str, Argument(help="display name")],
    slug: Annotated[str | None, Option("--slug", help="short name (default: from the name)", metavar="SLUG")] = None,
    owner: Annotated[str | None, Option("--owner", help="owner, by id or email (default: you)", metavar="USER")] = None,
) -> None:
    """Create an organization."""
    run.show(run.perform(organizations.create, CreateOrganization(name, slug, owner)))
