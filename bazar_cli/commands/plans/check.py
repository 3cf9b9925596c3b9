"""`bazar plans check`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.authz.explain import Verdict
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.plans import CHECK, CheckPermission
from bazar_cli.services.plans import read
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.plans import VERDICT


@command(
    CHECK,
    view=VERDICT,
    examples=(
        "bazar plans check files:execute --user ada@example.com",
        "bazar plans check users:delete --org acme -o json",
    ),
)
def run(
    run: Run[Verdict],
    permission: Annotated[Permission, Argument(help="such as files:execute", metavar="PERMISSION")],
    user: Annotated[str | None, Option("--user", help="user, by id or email (default: you)", metavar="USER")] = None,
    org: Annotated[str | None, Option("--org", help="in this organization", metavar="ORG")] = None,
) -> int:
    """Check whether a user has a permission; exit code 0 if allowed, 9 if not."""
    verdict = run.perform(read.check, CheckPermission(permission, user, org))
    run.show(verdict)
    return ExitCode.DONE if verdict.allowed else ExitCode.FINDING
