"""`bazar db reset`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.db.reset import RESET, DatabaseReset, ResetDatabase
from bazar_cli.domain.demo.seed import Seed, seed_password
from bazar_cli.domain.errors import ExitCode
from bazar_cli.services.db import reset
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views import reset as views
from bazar_cli.terminal.views.seed import warnings


@command(
    RESET,
    view=views.RESET,
    examples=("bazar db reset --dry-run", "bazar db reset --identities --seed --confirm bazar_test -o json"),
)
def run(
    run: Run[DatabaseReset],
    confirm: Annotated[
        str | None, Option("--confirm", help="the name of the database, typed again", metavar="NAME")
    ] = None,
    identities: Annotated[
        bool, Option("--identities", help="first delete the identities that this Bazar created at Supabase")
    ] = False,
    seed: Annotated[bool, Option("--seed", help="then create the demo data, as `bazar db seed` does")] = False,
) -> int:
    """Empty bazar's tables, or rebuild them if the database is not at the head.

    The marker and you as the one superuser are kept, and so is everything that does not belong to bazar. Objects of
    others that depend on tables to be rebuilt stop the reset. It is one transaction; --seed then creates the demo
    data. --dry-run tries it and rolls back. A protected database is always refused.
    """
    request = ResetDatabase(confirm, identities, seed)
    if seed:
        demo, dry_run = Seed(password=seed_password(run.environ)), run.options.dry_run
        done = run.with_consent(
            lambda asked: reset.reset_and_seed(run.gate, asked, demo, run.notice, dry_run=dry_run), request
        )
        run.notice_dry_run()
    else:
        done = run.perform(lambda backends, grant, asked: reset.reset(backends, grant, asked, run.notice), request)
    run.summarize(views.summary(done))
    for text in warnings(done.seeded) if done.seeded else ():
        run.warn(text)
    run.show(done)
    return ExitCode.PARTIAL if done.seeded and done.seeded.partly_done else ExitCode.DONE
