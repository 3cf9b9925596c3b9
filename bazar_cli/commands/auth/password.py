"""`bazar auth password`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.auth import PASSWORD
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
    email = run.account.change_password(
        lambda: run.read_password("New password", from_stdin=password_stdin, twice=True), dry_run=run.options.dry_run
    )
    if not run.notice_dry_run():
        run.notice(f"the password of {email} was changed; your other sessions were ended")
