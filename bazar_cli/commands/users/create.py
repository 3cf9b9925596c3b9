"""`bazar users create`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.users.changes import CREATE, CreatedUser, CreateUser, NewPassword, password_lost
from bazar_cli.domain.users.values import check_one_password
from bazar_cli.services.interrupts import until_shown
from bazar_cli.services.users import create
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.user_changes import CREATED


@command(
    CREATE,
    view=CREATED,
    examples=(
        'bazar users create ada@example.com --name "Ada Lovelace" --generate-password',
        "bazar users create bob@example.com --org acme --role admin --if-not-exists -o ids",
    ),
)
def run(
    run: Run[CreatedUser],
    email: Annotated[str, Argument(help="email address; stored in lower case")],
    name: Annotated[str | None, Option("--name", help="display name", metavar="NAME")] = None,
    org: Annotated[str | None, Option("--org", help="organization to join, by id or slug", metavar="ORG")] = None,
    role: Annotated[Role | None, Option("--role", help="owner, admin or member (default)", metavar="ROLE")] = None,
    plan: Annotated[Plan | None, Option("--plan", help="free (default), plus or premium", metavar="PLAN")] = None,
    password_stdin: Annotated[bool, Option("--password-stdin", help="read the password from standard input")] = False,
    generate_password: Annotated[
        bool, Option("--generate-password", help="generate a password and show it once, in the result")
    ] = False,
    password_hash_stdin: Annotated[
        bool, Option("--password-hash-stdin", help="read a bcrypt hash from standard input")
    ] = False,
    invite: Annotated[bool, Option("--invite", help="mail an invitation, with which the user sets a password")] = False,
    if_not_exists: Annotated[
        bool, Option("--if-not-exists", help="succeed if the user exists with these values")
    ] = False,
) -> None:
    """Create a user in Postgres and Supabase Auth, with one id in both.

    Without a password option or --invite the user has no password yet. Run an interrupted command again to finish
    it.
    """
    check_one_password(password_stdin, generate_password, password_hash_stdin, invite)
    if generate_password:
        run.require_field("password", "a generated password is shown once")
    password = NewPassword(generate=True) if generate_password else None
    if password_stdin:
        password = NewPassword(plain=run.read_password("Password", from_stdin=True))
    if password_hash_stdin:
        password = NewPassword(bcrypt_hash=run.read_hash())
    request = CreateUser(email, name, org, role, plan, password, if_not_exists, invite)
    with until_shown():
        created = run.perform(create.create, request)
        if not created.created:
            run.notice(f"{created.user.email} exists already; nothing was changed")
        if created.invited:
            run.notice(f"Supabase Auth mails an invitation to {created.user.email}")
        if created.password_kept:
            run.warn(f"this password was not set: {created.user.email} keeps the password of an earlier run")
        lost = generate_password and created.password is not None
        run.show(created, or_lost=password_lost(created.user) if lost else None)
