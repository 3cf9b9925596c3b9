"""`bazar plans explain`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.authz.explain import Explanation
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.plans import EXPLAIN, CheckPermission
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import EXPLANATION


@command(
    EXPLAIN,
    view=EXPLANATION,
    examples=(
        "bazar plans explain users:create",
        "bazar plans explain users:delete --user ada@example.com --org acme -o json",
    ),
)
def run(
    run: Run[Explanation],
    permission: Annotated[Permission, Argument(help="such as files:execute", metavar="PERMISSION")],
    user: Annotated[str | None, Option("--user", help="whose, by id or email (default: yours)", metavar="USER")] = None,
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None,
) -> None:
    """Show every step of why a user may or may not, and what would change it.

    The exit code is 0 in both cases; `bazar plans check` has it say yes or no.
    """
    found = run.perform(read.explain, CheckPermission(permission, user, org))
    run.show(replace(found, changes=tuple(run.told(change) for change in found.changes)))
