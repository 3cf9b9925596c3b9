"""`bazar local start`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.devstack import stack
from bazar_cli.domain.config import LOCAL_PROFILE
from bazar_cli.domain.local import START
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.texts import Verbatim
from bazar_cli.domain.users.values import check_superuser
from bazar_cli.services.config import NAMES_A_TARGET, data_folder, redacted
from bazar_cli.services.local import Prepared, prepare
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.local import STARTED, Started


@command(
    START,
    view=STARTED,
    examples=("bazar local start", "bazar local start --database-url postgresql://postgres@localhost:5432/postgres"),
)
def run(
    run: Run[Started],
    database_url: Annotated[
        Verbatim | None, Option("--database-url", help="run only the Auth service, with this Postgres", metavar="URL")
    ] = None,
) -> None:
    """Start Postgres and an Auth service on this machine, migrate, and sign in as profile `local`.

    For development, tests and CI. It can be run again at any time. The superuser is that of SUPERUSER_EMAIL and
    SUPERUSER_PASSWORD, or is generated once and kept; `bazar local env` prints it.
    """
    email, password = run.environ.get("SUPERUSER_EMAIL"), run.environ.get("SUPERUSER_PASSWORD")
    # Before anything starts: the stack keeps these values, and Auth would refuse them at every later start.
    check_superuser(email or None, Secret(password) if password else None)
    folder = data_folder(run.environ)
    running = stack.start(
        folder,
        superuser_email=email or None,
        superuser_password=password or None,
        database_url=database_url,
        notify=run.notice,
    )
    values = running.environment()
    run.remember_secrets(values)
    prepared: Prepared | None = None
    if database_url is None:
        prepared = prepare(LOCAL_PROFILE, values, run.environ, run.request_id, run.notice)
        if prepared.signed_in:
            stack.remember_superuser(folder, running.superuser_email, running.superuser_password)
    run.show(
        Started(
            supabase_url=running.supabase_url,
            database=redacted("DATABASE_URL", running.database_url) or "",
            superuser_email=running.superuser_email,
            profile=prepared.profile if prepared else None,
            already_running=running.already_running,
            migrated=prepared.migrated if prepared else 0,
            data_dir=str(running.data_dir),
        )
    )
    run.notice(*_next_commands(run, prepared))


def _next_commands(run: Run[Started], prepared: Prepared | None) -> tuple[str, ...]:
    """Return the next commands, with --profile if another target would be used."""
    if prepared is None:
        return ('next: eval "$(bazar local env)", then bazar db migrate',)
    elsewhere = any(run.environ.get(n) for n in NAMES_A_TARGET)
    flag = "" if prepared.active and not elsewhere else f" --profile {LOCAL_PROFILE}"
    return f"next: bazar users create grace@example.com --generate-password{flag}", f"      bazar users list{flag}"
