"""The revision of a database, and waiting until it answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db import migrations as use_cases
from bazar_cli.domain.db.migrations import (
    CurrentRevision,
    GetCurrent,
    GetStatus,
    MigrationStatus,
    Wait,
    Waited,
    checked_seconds,
)
from bazar_cli.domain.errors import BackendUnavailable, BazarError

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target
    from bazar_cli.services.gate.backends import Backends

_POLL_SECONDS = 0.25


def status(backends: Backends, grant: Grant, _request: GetStatus) -> MigrationStatus:
    """Return the revision of the database, and the revisions that are applied and pending."""
    grant.demand(use_cases.STATUS)
    return backends.migrator(grant).status()


def current(backends: Backends, grant: Grant, _request: GetCurrent) -> CurrentRevision:
    """Return the revision that the database is at."""
    grant.demand(use_cases.CURRENT)
    status = backends.migrator(grant).status()
    return CurrentRevision(status.current, status.current == status.head)


def wait(target: Target, request: Wait) -> Waited:
    """Return when the database accepts connections.

    Raises: UsageError `usage.invalid_value`; at once what does not pass by waiting, as `probe` says; BackendUnavailable
    `db.wait_timeout` with the last reason after `request.timeout` seconds.
    """
    from bazar_cli.adapters.postgres.probe import probe

    checked_seconds("--timeout", request.timeout)
    started = time.monotonic()
    try:
        place = poll(lambda: probe(target), seconds=request.timeout, pause=_POLL_SECONDS, again=_may_pass)
    except BazarError as error:
        if not _may_pass(error):
            raise
        raise BackendUnavailable(
            "db.wait_timeout",
            f"the database did not answer within {request.timeout:g} s: {error.message}",
            hint=error.hint,
        ) from error
    assert place is not None, "a probe answers or raises"
    return Waited(place, round((time.monotonic() - started) * 1000))


def _may_pass(error: BazarError) -> bool:
    # Another step of a pipeline may create the database.
    return isinstance(error, BackendUnavailable) or error.code == "db.no_database"
