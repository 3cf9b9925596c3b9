"""`bazar db reset`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain.consent import Impact
from bazar_cli.domain.reset import RESET, DatabaseReset, ResetDatabase
from bazar_cli.runtime.command import command
from bazar_cli.runtime.run import Run
from bazar_cli.runtime.views import db as views
from bazar_cli.services import reset


@command(
    RESET,
    view=views.RESET,
    examples=("bazar db reset --dry-run", "bazar db reset --identities --confirm bazar_test -o json"),
)
def run(
    run: Run[DatabaseReset],
    confirm: Annotated[
        str | None, Option("--confirm", help="the name of the database, typed again", metavar="NAME")
    ] = None,
    identities: Annotated[
        bool, Option("--identities", help="first delete the identities that this Bazar created at Supabase")
    ] = False,
) -> None:
    """Drop all that bazar owns in the database and make it anew: at the head, without rows.

    The marker stays, and you as the one superuser; so does all that is not bazar's, and what was built on its tables
    is made again. All of it happens, or nothing does. A protected database refuses, whatever the options.
    """

    def ask(name: str | None, *, asks: bool) -> DatabaseReset | Impact:
        request = ResetDatabase(name, identities, asks)
        return run.perform(lambda system, grant, asked: reset.reset(system, grant, asked, run.notice), request)

    done = ask(confirm, asks=run.prompter.possible)
    if isinstance(done, Impact):
        done = ask(run.prompter.name(None, f"{done.text}. {done.question}") or "", asks=False)
    assert not isinstance(done, Impact), "only who can be asked is asked"
    run.summarize(views.reset_summary(done))
    run.show(done)
