"""`bazar orgs get`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from bazar_cli.domain.orgs import GET, GetOrganization, Organization
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views.orgs import ORGANIZATION
from bazar_cli.services import orgs


@command(GET, view=ORGANIZATION, examples=("bazar orgs get acme", "bazar orgs get acme -o json"))
def run(run: Run[Organization], org: Annotated[str, Argument(help="id or slug")]) -> None:
    """Show one organization, by id or slug."""
    run.show(run.perform(orgs.get, GetOrganization(org)))
