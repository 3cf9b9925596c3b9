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
    user: Annotated[str | None, Option("--user", help="user, by id or email (default: you)", metavar="USER")] = None,
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None,
) -> None:
    """Explain step by step why a user has a permission or not.

    It also says what would change this. The exit code is 0 in both cases. `bazar plans check` exits with 0 or 9.
    """
    found = run.perform(read.explain, CheckPermission(permission, user, org))
    run.show(replace(found, changes=tuple(run.as_message(change) for change in found.changes)))
