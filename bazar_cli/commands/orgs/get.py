"""`bazar orgs get`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.orgs.organizations import GET, GetOrganization
from bazar_cli.services.orgs import organizations
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.orgs import ORGANIZATION


@command(GET, view=ORGANIZATION, examples=("bazar orgs get acme", "bazar orgs get acme -o json"))
def run(run: Run[Organization], org: Annotated[str, Argument(help="id or slug")]) -> None:
    """Show one organization, by id or slug."""
    run.show(run.perform(organizations.get, GetOrganization(org)))
