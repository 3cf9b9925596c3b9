"""`bazar db migrate`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.db.migrations import MIGRATE, Marker, Migrate, Migrated, Revision
from bazar_cli.services.db import migrate
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import StatementTimeout
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.db import MIGRATED, summary


@command(
    MIGRATE,
    view=MIGRATED,
    examples=("bazar db migrate", "bazar db migrate --env staging --unprotected --no-input -o json"),
)
def run(
    run: Run[Migrated],
    revision: Annotated[str | None, Argument(help="migrate up to this revision (default: head)")] = None,
    steps: Annotated[int | None, Option("--steps", help="apply at most this many revisions", metavar="N")] = None,
    sql: Annotated[bool, Option("--sql", help="print the SQL of pending revisions and write nothing")] = False,
    lock_wait: Annotated[
        float, Option("--lock-wait", help="seconds to wait for another migrator (default 60)", metavar="S")
    ] = 60.0,
    lock_timeout: Annotated[
        float, Option("--lock-timeout", help="seconds a statement waits for a lock (default 3)", metavar="S")
    ] = 3.0,
    statement_timeout: StatementTimeout = None,
    env: Annotated[
        str | None,
        Option("--env", help="environment of an unmarked database (default: production)", metavar="NAME"),
    ] = None,
    unprotected: Annotated[
        bool, Option("--unprotected", help="let destructive commands run on an unmarked database")
    ] = False,
) -> None:
    """Apply pending revisions, one migrator at a time, each in its own transaction.

    The first run also makes SUPERUSER_EMAIL the first superuser.
    """
    protected = False if unprotected else None
    request = Migrate(revision, steps, sql, lock_wait, lock_timeout, statement_timeout, env, protected)
    done = run.perform(
        lambda backends, grant, asked: migrate.migrate(backends, grant, asked, run.notice), request, only_shows=sql
    )
    if not (done.applied or done.would_apply or sql):
        run.notice(_why_nothing(done, revision))
    if run.options.dry_run and done.would_apply:
        run.notice(f"would apply: {_named(done.would_apply)}")
    _warn_of_marker(run, request, done.place.marker)
    if not sql:
        run.summarize(summary(done))
    run.show(done)


def _why_nothing(done: Migrated, revision: str | None) -> str:
    if not done.pending:
        return "nothing is pending"
    past = "" if revision is None or revision == done.current else f", past {revision}"
    return f"nothing to do: the database is at {done.current}{past}; pending: {_named(done.pending)}"


def _named(revisions: tuple[Revision, ...]) -> str:
    return ", ".join(f"{r.id} ({r.message})" for r in revisions)


def _warn_of_marker(run: Run[Migrated], request: Migrate, marker: Marker | None) -> None:
    """Warn that options do not change an existing marker; scripts may repeat what it says."""
    if marker is None:
        return
    other = request.environment not in {None, marker.environment}
    if other or request.protected not in {None, marker.protected}:
        state = "protected" if marker.protected else "unprotected"
        run.warn(f"the database is marked {marker.environment}, {state}: --env and --unprotected are ignored")
