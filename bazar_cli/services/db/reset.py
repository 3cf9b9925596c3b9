"""`db reset`: shows what it deletes, takes the name of the database as consent, and does all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.db import reset as use_cases
from bazar_cli.domain.db.marker import urls_differ
from bazar_cli.domain.db.migrations import MigrationStatus, disagreement, moved, refuse_protected
from bazar_cli.domain.db.reset import DatabaseReset, ResetDatabase, ResetPlan, needed_by_others
from bazar_cli.domain.demo.seed import Seed
from bazar_cli.domain.errors import Conflict, Refused
from bazar_cli.domain.texts import counted
from bazar_cli.services.apply import demo_data
from bazar_cli.services.consent import on_database
from bazar_cli.services.users import created_identities

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.reset.resetter import Resetter
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

Notify = Callable[[str], None]


def reset(
    backends: Backends,
    grant: Grant,
    request: ResetDatabase,
    notify: Notify = lambda _text: None,
    check_seed: Callable[[], None] = lambda: None,
) -> DatabaseReset:
    """Delete the rows of bazar's tables; keep the marker, and the operator as the one superuser.

    A dry run tries all of it, rolls it back, and returns what would be deleted.
    Parameters: `check_seed` raises what would stop the demo data.
    Raises: Refused `db.transaction_pooler`, `db.protected`, `db.unmarked`, `db.confirm_mismatch`; Conflict
    `db.urls_differ`; BackendUnavailable `db.identities_left`; and see `adapters.migrations.reset.resetter`.
    """
    grant.demand(use_cases.RESET)
    from bazar_cli.adapters.migrations.reset.resetter import Checks

    def check(status: MigrationStatus) -> None:
        refuse_protected(status, "resetting", embedded=backends.target.source.embedded)

    resetter = backends.resetter(grant)
    status, plan = _checked_plan(backends, grant, request, resetter, check)
    found = _identities_found(backends, grant, request, plan)
    impact = _impact(plan, request, found, grant)
    check_consent(impact, request.confirm, optional=grant.dry_run or not plan.tables)
    wrong = disagreement(status)
    if wrong is not None:
        # No reason to refuse: the tables that disagree are dropped.
        notify(f"warning: {wrong.message}")
    check_seed()

    def check_plan(now: ResetPlan) -> None:
        if plan.in_place and not now.in_place:
            # Nobody agreed to tables being dropped.
            raise moved(plan.current, now.current)

    checks = Checks(check, check_plan)
    if grant.dry_run:
        notify(impact.text)
        notify("Trying the reset, and rolling it back")
        resetter.rehearse(grant, checks, notify)
        return plan.result(grant.operator.email, found)

    def delete(deployment: UUID | None) -> int:
        return created_identities.delete(backends, grant, deployment, notify)

    done = resetter.reset(grant, checks, delete if request.identities else None, notify)
    if not request.identities and plan.created_users:
        notify(_identities_that_stay(plan.created_users))
    return done


def reset_and_seed(
    gate: Gate, request: ResetDatabase, seed: Seed, notify: Notify, *, dry_run: bool = False
) -> DatabaseReset:
    """Reset as the gate allows it, then make the demo data, for each change of which the gate is asked.

    A reason against the demo data that is known before stops the reset too, and its dry run. If the demo data fails
    later, the reset is kept and `bazar db seed` continues. Raises: as `reset`, `demo_data.prepare`, `demo_data.seed`.
    """

    def perform(backends: Backends, grant: Grant, asked: ResetDatabase) -> DatabaseReset:
        return reset(backends, grant, asked, notify, lambda: _refuse_seed(gate, grant, seed))

    done = gate.perform(perform, use_cases.RESET, request, dry_run=dry_run)
    if dry_run:
        return done
    notify("The database is reset. Making the demo data")
    return replace(done, seeded=demo_data.seed(gate, seed))


def _refuse_seed(gate: Gate, grant: Grant, seed: Seed) -> None:
    """Raise what stops the demo data, as far as it can be known before the reset."""
    if grant.bootstrap:
        # The operator has no rights yet to look at users and identities.
        return
    try:
        demo_data.prepare(gate, seed, dry_run=True, emptied=True)
    except Conflict as conflict:
        # The reset makes tables and marker.
        if conflict.code not in {"db.not_migrated", "db.no_marker"}:
            raise


def _checked_plan(
    backends: Backends,
    grant: Grant,
    request: ResetDatabase,
    resetter: Resetter,
    check: Callable[[MigrationStatus], None],
) -> tuple[MigrationStatus, ResetPlan]:
    """Return the status and the plan of a reset that nothing forbids, as far as can be known before it begins."""
    from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
    from bazar_cli.adapters.migrations.reset.resetter import status_for_guard

    refuse_pooler_port(backends.target.to_migrate.database_url)
    status = resetter.status()
    if not grant.dry_run:
        resetter.refuse_read_only(status, "nothing was done")
    plan = resetter.preview(grant, status)
    check(status_for_guard(status, plan.tables))
    _refuse_two_databases(backends, grant, plan)
    if plan.dependents:
        raise needed_by_others(plan)
    if request.seed and not plan.tables and not backends.target.source.embedded:
        raise _protected_once_made(plan)
    return status, plan


def _refuse_two_databases(backends: Backends, grant: Grant, plan: ResetPlan) -> None:
    """Make sure that the database to reset is the one where the gate found the operator."""
    if backends.target.migration_url is None or grant.bootstrap:
        return
    from bazar_cli.adapters.postgres import marker as markers

    with backends.database().read(grant) as connection:
        known = markers.find(connection)
    if known.id != plan.deployment:
        raise urls_differ(known.database, plan.place.database)


def _protected_once_made(plan: ResetPlan) -> Refused:
    place = plan.place
    return Refused(
        "db.protected",
        f"{place.database} on {place.host} has no tables yet. Once they are made it is marked production, protected,"
        " and takes no demo data",
        hint="if it is for tests: `bazar db migrate --env test --unprotected`, then `bazar db seed`",
        details={"host": place.host, "database": place.database},
    )


def _identities_found(backends: Backends, grant: Grant, request: ResetDatabase, plan: ResetPlan) -> int | None:
    """How many identities `--identities` would delete; None if they are not counted."""
    if request.identities and (grant.dry_run or request.confirm is None):
        return created_identities.count(backends, grant, plan.deployment)
    return None


def _identities_that_stay(count: int) -> str:
    verb = "stays" if count == 1 else "stay"
    return (
        f"{counted(count, 'identity')} that this Bazar created {verb} at Supabase: `bazar users adopt EMAIL` makes one"
        " a user again, with its id; `bazar db reset --identities` deletes them"
    )


def _impact(plan: ResetPlan, request: ResetDatabase, identities: int | None, grant: Grant) -> Impact:
    marker, log = plan.place.marker, plan.audit
    return on_database(
        plan.place.database,
        command_line("db reset", identities=request.identities, seed=request.seed),
        f"{_action(plan)}. {_consequences(plan, request, identities, grant)}",
        {
            "host": plan.place.host,
            "environment": None if marker is None else marker.environment,
            "current": plan.current,
            "lost_tables": [{"table": t.name, "rows": t.rows} for t in plan.tables],
            "audit": None if log is None else {"events": log.events, "head": log.head},
            "identities": identities,
        },
        ("in place" if plan.in_place else "from the base", *(t.name for t in plan.tables), *plan.unsure),
    )


def _action(plan: ResetPlan) -> str:
    place, marker = plan.place, plan.place.marker
    mark = "no marker" if marker is None else f"{marker.environment}, {'' if marker.protected else 'un'}protected"
    return f"resetting {place.database} on {place.host} ({mark}, at revision {plan.current or 'none'})"


def _consequences(plan: ResetPlan, request: ResetDatabase, identities: int | None, grant: Grant) -> str:
    """Return what the reset deletes and keeps, in sentences."""
    tables = ", ".join(
        f"{t.name} ({'about ' if t.rows >= use_cases.COUNTED_ROWS else ''}{counted(t.rows, 'row')})"
        for t in plan.tables
    )
    texts = [f"It {'empties' if plan.in_place else 'drops'} {tables}" if tables else "It drops nothing"]
    if tables and not plan.in_place:
        texts.append("Grants, comments, columns and indexes that others added to these tables are dropped with them")
    if plan.unsure:
        texts.append(
            "Other files than those of this release migrated the database, so all that their role owns in the schema"
            f" is dropped too: {', '.join(plan.unsure)}"
        )
    if plan.audit is not None:
        texts.append(f"The audit log of {counted(plan.audit.events, 'event')} is deleted")
        if plan.audit.head is not None:
            texts.append(f"Its last hash is {plan.audit.head}")
    if plan.superusers:
        texts.append(f"{counted(plan.superusers, 'other superuser')} {'is' if plan.superusers == 1 else 'are'} deleted")
    if request.identities:
        some = "The identities" if identities is None else counted(identities, "identity")
        texts.append(f"{some} that this Bazar created {'is' if identities == 1 else 'are'} deleted at Supabase")
    if plan.strangers:
        texts.append(f"Objects of others in the schema are kept: {', '.join(plan.strangers)}")
    texts.append(f"The marker is kept. {grant.operator.email} is the only superuser afterwards")
    if request.seed:
        texts.append("Then the demo data is made")
    return ". ".join(texts)
