"""`bazar auth login`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.auth import LOGIN, Login, WhoAmI
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.auth import WHO


@command(
    LOGIN,
    view=WHO,
    examples=("bazar auth login", "bazar auth login --email ada@example.com --password-stdin < password.txt"),
)
def run(
    run: Run[WhoAmI],
    email: Annotated[str | None, Option("--email", help="your email address", metavar="EMAIL")] = None,
    password_stdin: Annotated[bool, Option("--password-stdin", help="read the password from standard input")] = False,
) -> None:
    """Sign in with email and password, and store the session for this target.

    The first sign-in as SUPERUSER_EMAIL to a system without a superuser makes that user the superuser.
    """
    account = run.account  # report a missing target before anybody types a password
    address = email or run.prompter.text(f"Email for {account.url}", option="--email")
    password = run.read_password("Password", from_stdin=password_stdin)
    who = account.login(Login(address, password))
    if run.token is not None:
        run.warn("BAZAR_TOKEN is set and is used instead of the stored session; unset it to use the session")
    if who.claimed:
        run.notice(f"{who.email} is now the first superuser of this Bazar")
    if who.note is not None:
        run.warn(f"signed in, but plan and role are unknown: {who.note}")
    elif who.plan is None:
        run.warn(f"signed in, but {who.email} is not a user of this Bazar")
    run.show(who)
