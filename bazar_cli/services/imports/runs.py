"""`users imports list` and `show`: runs of imports, and the rows of one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.errors import NotFound
from bazar_cli.domain.imports import imports as use_cases
from bazar_cli.domain.imports.imports import CountedRun, ImportRun, ListRuns, RowResult, ShowRun
from bazar_cli.domain.page import Page, checked_limit

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.services.gate.backends import Backends


def list_page(backends: Backends, grant: Grant, request: ListRuns) -> Page[CountedRun]:
    """Return one page of the runs that the operator can see, the newest first.

    Raises: UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.imports import runs

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        return runs.page(connection, grant.reach, request)


def show_page(backends: Backends, grant: Grant, request: ShowRun) -> Page[RowResult]:
    """Return one page of the rows of a run, by line.

    Raises: NotFound `imports.not_found`; UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.imports import runs

    grant.demand(use_cases.SHOW)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        run = found_run(connection, grant, request.run)
        return runs.rows_page(connection, run.id, request)


def found_run(connection: Connection, grant: Grant, reference: str) -> ImportRun:
    """Return the run with this id. Raises: NotFound `imports.not_found`, also for one that the operator cannot see."""
    from bazar_cli.adapters.postgres.imports import runs

    try:
        run = runs.find_seen(connection, grant.reach, uuid.UUID(reference))
    except ValueError:
        run = None
    if run is None:
        raise NotFound(
            "imports.not_found",
            f"there is no import {reference[:80]!r} that you can see",
            hint="`bazar users imports list` lists the imports with their ids",
        )
    return run
