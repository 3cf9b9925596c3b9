"""`bazar config profiles add`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.config import PROFILES_ADD, Profile
from bazar_cli.services import config
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.run_output import current_folder
from bazar_cli.terminal.views.config import PROFILE


@command(
    PROFILES_ADD,
    view=PROFILE,
    examples=(
        "bazar config profiles add staging --env-file staging.env",
        "bazar config profiles add production --api-url https://bazar.example.com --use",
    ),
)
def run(
    run: Run[Profile],
    name: Annotated[str, Argument(help="name of the profile")],
    api_url: Annotated[
        str | None, Option("--api-url", help="a server of bazar's API, which holds the keys", metavar="URL")
    ] = None,
    use: Annotated[bool, Option("--use", help="make it the active profile")] = False,
) -> None:
    """Save a target as a profile.

    The target is that of --api-url, --env-file, --profile or the environment, or is asked for. Secrets are stored in
    the keyring, or in a file that only you can read. The first profile becomes the active one.
    """
    config.check_profile_name(name)
    values = config.values_of_api(api_url, run.choice) or config.explicit_values(
        run.choice, run.environ, current_folder(), run.warn_of_source
    )
    if values is None:
        ask = run.prompter
        option = "--env-file, or SUPABASE_URL, SUPABASE_KEY and DATABASE_URL in the environment"
        values = {
            "SUPABASE_URL": ask.text("Supabase URL", option=option),
            "SUPABASE_KEY": ask.secret("Service key", option=option).reveal(),
            "DATABASE_URL": ask.secret("Database URL", option=option).reveal(),
        }
    run.remember_secrets(values)
    run.show(config.add_profile(run.environ, name, values, activate=use))
