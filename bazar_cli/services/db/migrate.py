"""The database: status, migration, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db import migrations as use_cases
from bazar_cli.domain.db.migrations import (
    SHORTEST_SECONDS,
    GetStatus,
    Migrate,
    Migrated,
    MigrationStatus,
    Wait,
    Waited,
    checked_environment,
    checked_seconds,
    checked_statement_timeout,
)
from bazar_cli.domain.errors import BackendUnavailable, BazarError, UsageError
from bazar_cli.services.gate.first_superuser import check_claim, claim_by

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target
    from bazar_cli.services.gate.backends import Backends

_POLL_SECONDS = 0.25


def status(backends: Backends, grant: Grant, _request: GetStatus) -> MigrationStatus:
    """Return the revision of the database, what is pending, and what of that takes data away."""
    grant.demand(use_cases.STATUS)
    migrator = backends.migrator(grant)
    return migrator.judged(migrator.status())


def migrate(
    backends: Backends, grant: Grant, request: Migrate, notify: Callable[[str], None] = lambda _text: None
) -> Migrated:
    """Apply pending revisions, one migrator at a time; a dry run returns the plan.

    A bootstrap run then makes the operator the first superuser.
    Raises: see `adapters.migrations.runner`; UsageError `db.steps_and_revision`, `db.steps_invalid`,
    `db.environment_name`, `usage.invalid_value`; Conflict `users.email_exists`.
    """
    grant.demand(use_cases.MIGRATE)
    if request.steps is not None and request.revision is not None:
        raise UsageError(
            "db.steps_and_revision",
            "a revision and --steps say two different things",
            hint="give one of them",
        )
    if request.steps is not None and request.steps < 1:
        raise UsageError("db.steps_invalid", f"--steps {request.steps} migrates nothing", hint="give 1 or more")
    checked_seconds("--lock-wait", request.lock_wait)
    checked_seconds("--lock-timeout", request.lock_timeout, least=SHORTEST_SECONDS)
    checked_statement_timeout(request.statement_timeout)
    if request.environment is not None:
        checked_environment(request.environment)
    if grant.bootstrap:
        check_claim(backends, grant)
    migrator = backends.migrator(grant)
    if grant.dry_run or request.sql:
        plan = migrator.plan(request)
        if grant.bootstrap and not request.sql:
            notify(f"{grant.operator.email} would become the first superuser of this Bazar")
        return plan
    result = migrator.migrate(request, notify)
    if grant.bootstrap and claim_by(backends, grant):
        notify(f"{grant.operator.email} is now the first superuser of this Bazar")
    return result


def wait(target: Target, request: Wait) -> Waited:
    """Return when the database accepts connections.

    Raises: UsageError `usage.invalid_value`; at once what does not pass by waiting, as `probe` says; BackendUnavailable
    `db.wait_timeout` with the last reason after `request.timeout` seconds.
    """
    from bazar_cli.adapters.postgres.probe import probe

    checked_seconds("--timeout", request.timeout)
    started = time.monotonic()
    while True:
        try:
            place = probe(target)
        except BazarError as error:
            # Another step may create the database meanwhile.
            if not isinstance(error, BackendUnavailable) and error.code != "db.no_database":
                raise
            if time.monotonic() - started > request.timeout:
                raise BackendUnavailable(
                    "db.wait_timeout",
                    f"the database did not answer within {request.timeout:g} s: {error.message}",
                    hint=error.hint,
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            return Waited(place, round((time.monotonic() - started) * 1000))
