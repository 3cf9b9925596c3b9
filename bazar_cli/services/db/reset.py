"""`db reset`: what would go is shown, the name of the database typed, and all of it done or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db import reset as use_cases
from bazar_cli.domain.db.database import urls_differ
from bazar_cli.domain.db.migrations import MigrationStatus, disagreement, refuse_protected
from bazar_cli.domain.db.reset import DatabaseReset, ResetDatabase, ResetPlan
from bazar_cli.domain.demo.seed import Seed
from bazar_cli.domain.errors import Conflict, Refused
from bazar_cli.services.apply import demo_data
from bazar_cli.services.consent import confirmed_by_database
from bazar_cli.services.users import created_identities

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate

Notify = Callable[[str], None]


def reset(
    backends: Backends,
    grant: Grant,
    request: ResetDatabase,
    notify: Notify = lambda _text: None,
    ready: Callable[[], None] = lambda: None,
) -> DatabaseReset | Impact:
    """Drop what bazar owns and make it anew, keeping the marker and the operator as the one superuser.

    A dry run tries all of it, takes it back, and returns what would go; without the name, where somebody can type it,
    the impact comes back. Parameters: `ready` raises what stops the work that follows, before anything goes.
    Raises: Refused `db.transaction_pooler`, `db.protected`, `db.unmarked`, `db.confirm_mismatch`; Conflict
    `db.urls_differ`; BackendUnavailable `db.identities_left`; and see `adapters.migrations.reset.rebuild`.
    """
    grant.demand(use_cases.RESET)
    from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
    from bazar_cli.adapters.migrations.reset.rebuild import as_held

    refuse_pooler_port(backends.target.to_migrate.database_url)

    def allowed(status: MigrationStatus) -> None:
        refuse_protected(status, "resetting", embedded=backends.target.source.embedded)

    rebuilder = backends.rebuilder(grant)
    status = rebuilder.status()
    if not grant.dry_run:
        rebuilder.refuse_read_only(status, "nothing was done")
    plan = rebuilder.preview(grant, status)
    allowed(as_held(status, plan.tables))
    _one_database(backends, grant, plan)
    counted = created_identities.count(backends, grant, plan.deployment) if _is_looking(grant, request) else None
    doing, goes, database = _doing(plan), _goes(plan, request, counted, grant), plan.place.database
    if request.seed and not plan.tables and not backends.target.source.embedded:
        raise _protected_once_made(plan)
    command = command_line("db reset", identities=request.identities, seed=request.seed)
    if request.confirm is None and request.asks and plan.tables and not grant.dry_run:
        return Impact(f"{doing} {goes}", f"Type {database} to reset it", command, (database,))
    details, needed = _details(plan, counted), bool(plan.tables)
    confirmed_by_database(
        grant, database, request.confirm, doing, command, needed=needed, goes=f"It {goes}", details=details
    )
    wrong = disagreement(status)
    if wrong is not None:
        # No reason to refuse: with the tables, the disagreement goes.
        notify(f"warning: {wrong.message}")
    ready()
    if grant.dry_run:
        notify(f"{doing} {goes}")
        notify("Trying the reset, and taking it back")
        rebuilder.rehearse(grant, allowed, notify)
        return _would_be(plan, grant, counted)

    def clear(deployment: UUID | None) -> int:
        return created_identities.delete(backends, grant, deployment, notify)

    done = rebuilder.rebuild(grant, allowed, clear if request.identities else None, notify)
    if not request.identities and plan.created_users:
        notify(
            f"the identities that this Bazar created ({plan.created_users}) stay at Supabase: `bazar users adopt EMAIL`"
            " makes one a user again, with its id; `bazar db reset --identities` deletes them"
        )
    return done


def reset_and_seed(
    gate: Gate, request: ResetDatabase, seed: Seed, notify: Notify, *, dry_run: bool = False
) -> DatabaseReset | Impact:
    """Reset as the gate allows it, and then make the demo data, whose changes the gate is asked for one by one.

    What stops the demo data and is known before stops the reset too, and its dry run. Where making it fails later the
    reset stays done: `bazar db seed` goes on. Raises: as `reset`, `seeding.prepare` and `seeding.seed`.
    """

    def perform(backends: Backends, grant: Grant, asked: ResetDatabase) -> DatabaseReset | Impact:
        return reset(backends, grant, asked, notify, lambda: _can_be_made(gate, grant, seed))

    done = gate.perform(perform, use_cases.RESET, request, dry_run=dry_run)
    if isinstance(done, Impact) or dry_run:
        return done
    notify("The tables are made anew; making the demo data")
    return replace(done, seeded=demo_data.seed(gate, seed, notify))


def _can_be_made(gate: Gate, grant: Grant, seed: Seed) -> None:
    """Raise what stops the demo data, as far as it can be known before the reset."""
    if grant.bootstrap:
        # Nobody rules here: whoever is to be the superuser may not look before the reset makes them one.
        return
    try:
        demo_data.prepare(gate, seed, dry_run=True, emptied=True)
    except Conflict as conflict:
        # The reset makes both: tables of another revision cannot be looked in, and what no marker stamped is nobody's.
        if conflict.code not in {"db.not_migrated", "db.no_marker"}:
            raise


def _protected_once_made(plan: ResetPlan) -> Refused:
    place = plan.place
    return Refused(
        "db.protected",
        f"{place.database} on {place.host} has no tables yet, and counts as production, protected, once they are made:"
        " no demo data goes there",
        hint="if it is for tests: `bazar db migrate --env test --unprotected`, then `bazar db seed`",
        details={"host": place.host, "database": place.database},
    )


def _one_database(backends: Backends, grant: Grant, plan: ResetPlan) -> None:
    """Make sure that the database which is reset is the one where the gate knew the operator."""
    if backends.target.migration_url is None or grant.bootstrap:
        return
    from bazar_cli.adapters.postgres import marker as markers

    with backends.database().read(grant) as connection:
        known = markers.find(connection)
    if known.id != plan.deployment:
        raise urls_differ(known.database, plan.place.database)


def _is_looking(grant: Grant, request: ResetDatabase) -> bool:
    return request.identities and (grant.dry_run or request.confirm is None)


def _doing(plan: ResetPlan) -> str:
    place, marker = plan.place, plan.place.marker
    said = "no marker" if marker is None else f"{marker.environment}, {'' if marker.protected else 'un'}protected"
    return f"resetting {place.database} on {place.host} ({said}, at revision {plan.current or 'none'})"


def _goes(plan: ResetPlan, request: ResetDatabase, counted: int | None, grant: Grant) -> str:
    """What goes and what stays, as the end of a sentence."""
    texts = ["drops " + (", ".join(f"{t.name} (about {t.rows} rows)" for t in plan.tables) or "nothing")]
    if plan.unsure:
        texts.append(
            "other files than those of this release migrated it, so what their role owns in the schema goes with the"
            f" rest: {', '.join(plan.unsure)}"
        )
    if plan.audit is not None:
        texts.append(f"the audit log of {plan.audit.events} events goes, whose head is {plan.audit.head or 'none'}")
    if plan.superusers:
        texts.append("1 other superuser goes" if plan.superusers == 1 else f"{plan.superusers} other superusers go")
    if request.identities:
        number = "the" if counted is None else f"{counted}"
        texts.append(f"{number} identities that this Bazar created are deleted at Supabase")
    if plan.strangers:
        texts.append(f"not bazar's and left alone: {', '.join(plan.strangers)}")
    texts.append(f"{grant.operator.email} stays, as a superuser, and so does the marker")
    if request.seed:
        texts.append("then the demo data is made")
    return "; ".join(texts)


def _details(plan: ResetPlan, counted: int | None) -> dict[str, object]:
    marker, log = plan.place.marker, plan.audit
    return {
        "host": plan.place.host,
        "environment": None if marker is None else marker.environment,
        "current": plan.current,
        "lost_tables": [{"table": t.name, "rows": t.rows} for t in plan.tables],
        "audit": None if log is None else {"events": log.events, "head": log.head},
        "identities": counted,
    }


def _would_be(plan: ResetPlan, grant: Grant, counted: int | None) -> DatabaseReset:
    return DatabaseReset(
        place=plan.place,
        previous=plan.current,
        current=plan.current,
        head=plan.head,
        applied=(),
        pending=plan.pending,
        tables=plan.tables,
        strangers=plan.strangers,
        dependents=plan.dependents,
        superuser=grant.operator.email,
        audit=plan.audit,
        identities=counted,
    )
