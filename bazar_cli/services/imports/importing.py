"""`users import`: check the file, stage its rows, apply them, write the results. Each part can be repeated.

`prepare` checks and stages in one transaction, and writes nothing where it finds a fault. `carry_out` does the rest. A
run is known by the content of its file: the same command again continues it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.imports.imports import IMPORT, Imported, ImportRun, ImportUsers, Via
from bazar_cli.services.imports import outcomes, via_database
from bazar_cli.services.imports.continuing import continued
from bazar_cli.services.imports.hashes import hash_passwords
from bazar_cli.services.imports.request import Command
from bazar_cli.services.imports.staging import StagedMeanwhile, checked_and_staged

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends


def prepare(command: Command, *, dry_run: bool) -> ImportRun | Imported:
    """Check the file, and stage its rows or find the open run of this file; return that run.

    Returns the outcome for a file without rows, and in a dry run the expected one.
    Raises: UsageError `imports.file_invalid` and Denied `imports.denied`, with their findings; Conflict
    `imports.file_changed`, `imports.options_differ`, `imports.other_operator`, `files.exists` for the results, and as
    `via_database.refuse_unknown_auth`.
    """

    from bazar_cli.adapters.postgres.imports import runs

    def use_case(backends: Backends, grant: Grant, _request: ImportUsers) -> ImportRun | Imported:
        grant.demand(IMPORT)
        if command.request.via is Via.DATABASE:
            via_database.refuse_unknown_auth(backends, grant)
        while True:
            with backends.database().read(grant) as connection:
                found = runs.open_run(connection, command.request.content_hash)
                if command.results is not None:
                    # They are written before a run is finished, and an earlier command may have ended in between.
                    written = None if found is None else lambda run=found: outcomes.pages(connection, run)
                    command.results.check(written)
            if found is not None:
                return continued(backends, grant, command, found)
            try:
                return checked_and_staged(backends, grant, command)
            except StagedMeanwhile:
                continue

    return command.gate.perform(use_case, IMPORT, command.request, dry_run=dry_run)


def carry_out(
    command: Command, run: ImportRun, ended: Callable[[], bool], *, concurrency: int | None = None
) -> Imported:
    """Hash what awaits it, apply all open rows, write the results, and finish the run.

    Returns early, with open rows, when the command is to end. Raises: as the parts: run it again.
    """
    from bazar_cli.services.imports import apply

    gate, request = command.gate, command.request

    def conclude() -> Imported:
        return gate.perform(lambda b, g, _: outcomes.concluded(b, g, command, run), IMPORT, request)

    if run.staged_at is None:
        gate.perform(
            lambda backends, grant, _: hash_passwords(
                backends, grant, run, command.file, command.format, command.progress, ended
            ),
            IMPORT,
            request,
        )
    if not ended():
        try:
            apply.apply(gate, run, command.progress, ended, concurrency=concurrency)
        except BackendUnavailable as error:
            if error.code == "imports.unfinished" and command.results is not None:
                conclude()
            raise
    return conclude()
