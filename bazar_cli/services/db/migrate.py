"""Applying pending revisions; a bootstrap run then makes the first superuser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db import migrations as use_cases
from bazar_cli.domain.db.migrations import (
    SHORTEST_SECONDS,
    Migrate,
    Migrated,
    checked_environment,
    checked_seconds,
    checked_statement_timeout,
)
from bazar_cli.domain.errors import UsageError
from bazar_cli.services.gate.first_superuser import check_claim, claim_by

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends


def migrate(
    backends: Backends, grant: Grant, request: Migrate, notify: Callable[[str], None] = lambda _text: None
) -> Migrated:
    """Apply pending revisions, one migration at a time; a dry run returns the plan.

    A bootstrap run then makes the operator the first superuser.
    Raises: see `adapters.migrations.migrator`; UsageError `db.steps_and_revision`, `db.steps_invalid`,
    `db.environment_name`, `usage.invalid_value`; Conflict `users.email_exists`.
    """
    grant.demand(use_cases.MIGRATE)
    if request.steps is not None and request.revision is not None:
        raise UsageError(
            "db.steps_and_revision",
            "a revision and --steps exclude each other",
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
