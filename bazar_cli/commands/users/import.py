"""`bazar users import`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.imports.file import format_of
from bazar_cli.domain.imports.imports import (
    IMPORT,
    MAX_CONCURRENCY,
    FileFormat,
    Imported,
    ImportUsers,
    OnConflict,
    Via,
    checked_concurrency,
)
from bazar_cli.domain.texts import Verbatim, counted
from bazar_cli.services.imports import importing
from bazar_cli.services.imports.request import Command
from bazar_cli.services.interrupts import between_steps
from bazar_cli.terminal.command import command
from bazar_cli.terminal.options import Overwrite
from bazar_cli.terminal.progress import ProgressMode, ProgressOption, shown
from bazar_cli.terminal.results_file import ResultsFile
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.run_output import refuse_input_as_output
from bazar_cli.terminal.views.imports import IMPORTED, ROW


@command(
    IMPORT,
    view=IMPORTED,
    examples=(
        "bazar users import users.csv --on-conflict skip --dry-run",
        "bazar users import users.jsonl --on-conflict update --results results.csv",
    ),
)
def run(
    run: Run[Imported],
    file: Annotated[Verbatim, Argument(help="file of users, or - for standard input")],
    file_format: Annotated[
        FileFormat | None, Option("--format", help="csv or jsonl (default: by name or content)", metavar="FORMAT")
    ] = None,
    on_conflict: Annotated[
        OnConflict,
        Option("--on-conflict", help="users who exist with other values: fail (default), skip or update", metavar="DO"),
    ] = OnConflict.FAIL,
    via: Annotated[
        Via, Option("--via", help="identities by the api of Supabase Auth (default) or its database", metavar="WAY")
    ] = Via.API,
    concurrency: Annotated[
        int | None, Option("--concurrency", help=f"most requests at once, 1 to {MAX_CONCURRENCY}", metavar="N")
    ] = None,
    results: Annotated[
        Verbatim | None, Option("--results", help="new file with one line for each row", metavar="FILE")
    ] = None,
    overwrite: Overwrite = False,
    progress: ProgressOption = ProgressMode.AUTO,
) -> int:
    """Create the users of a CSV or JSON Lines file in both systems, or update them.

    Columns: email, name, organizations (`acme:owner;beta:member`), plan, password, password_hash (bcrypt, argon2 or
    Firebase's scrypt), user_metadata, app_metadata (JSON objects), id, state. Only email is needed. The file of an
    export can be imported: created_at, updated_at, pending and is_superuser are not read. Superusers alone set id and
    app_metadata.

    The whole file is checked first: one fault, or one row that you may not write, and nothing is written. Each row
    becomes one user. A user who exists with the same values is unchanged. With --on-conflict update, name and plan
    change, memberships are added and roles change; email, password and metadata of existing users do not. An empty
    name removes it.

    --via database writes identities by SQL, many times faster. It needs the Auth tables of the same project in
    DATABASE_URL, and an Auth version that it knows. Hooks and webhooks of the Auth server do not run; triggers on
    auth.users do.

    After an interruption the same command continues, and replaces the results of the first. Exit code 8 means that some
    rows failed.
    """
    checked_concurrency(concurrency)
    if results and file != "-":
        refuse_input_as_output(file, results, "--results")
    written = None
    if results is not None:
        written = ResultsFile(results, ROW, run.environ, overwrite=overwrite, earlier=lambda row: row.before_outcome)
    with run.import_file(file) as content, shown(progress, run.environ, quiet=run.options.quiet) as report:
        chosen = file_format or format_of(content.named, content.beginning)
        asked = ImportUsers(content.content_hash, via, on_conflict)
        importer = Command(run.gate, content, chosen, asked, written, report, run.notice)
        begun = importing.prepare(importer, dry_run=run.options.dry_run)
        if isinstance(begun, Imported):
            run.notice_dry_run()
            return _shown(run, begun)
        with between_steps() as is_ended:
            done = importing.carry_out(importer, begun, is_ended, concurrency=concurrency)
            code = _shown(run, done)
            if done.open:
                run.notice(f"{counted(done.open, 'row')} left: the same command continues")
            return code


def _shown(run: Run[Imported], done: Imported) -> int:
    run.show(done)
    return ExitCode.PARTIAL if done.failed else ExitCode.DONE
