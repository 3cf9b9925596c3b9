"""`bazar auth password`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.auth import PASSWORD, ChangePassword
from bazar_cli.services import auth
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run


@command(PASSWORD, examples=("bazar auth password", "bazar auth password --password-stdin < new-password.txt"))
def run(
    run: Run[None],
    password_stdin: Annotated[
        bool, Option("--password-stdin", help="read the new password from standard input")
    ] = False,
) -> None:
    """Change your password and end your other sessions."""
    grant = run.authorize(None)
    password = run.read_password("New password", from_stdin=password_stdin, twice=True)
    auth.change_password(run.backends, grant, ChangePassword(password))
    if not run.notice_dry_run():
        run.notice(f"the password of {grant.operator.email} was changed; your other sessions were ended")
