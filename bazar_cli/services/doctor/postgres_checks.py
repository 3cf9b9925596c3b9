"""The checks of Postgres alone, for operators who may compare both systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta, timezone
from typing import TYPE_CHECKING

from bazar_cli.domain import doctor as use_cases
from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, Permission
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Check, Found, Health
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import BazarError
from bazar_cli.domain.texts import counted
from bazar_cli.services.doctor.checks import failed, failed_together, of_rows, skipped

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.domain.db.migrations import MigrationStatus
    from bazar_cli.services.gate.backends import Backends

SUPERUSERS = "superusers"
MIGRATIONS, MARKER, PLAN_TABLE = "migrations", "marker", "plan-table"
OPEN_IMPORTS = "open-imports"
INSPECTED = (
    *(MIGRATIONS, MARKER, PLAN_TABLE, "tables-exposed", "organizations-without-owner", "audit-tables"),
    OPEN_IMPORTS,
)
_OLD_IMPORT = timedelta(hours=1)
_NAMED = 3
"""How many imports the detail names."""
_FIRST_SUPERUSER = (
    "sign in as SUPERUSER_EMAIL: `bazar db migrate` or `bazar auth login` make the first superuser if none exists"
)


class PostgresChecks:
    """The checks of one database. A check that an older schema cannot have is skipped, with the reason."""

    def __init__(self, backends: Backends, grant: Grant) -> None:
        grant.demand(use_cases.COMPARE)
        self._backends = backends
        self._grant = grant
        self.behind = ""
        """Why a check of newer tables may fail; empty if the schema is that of this release."""

    def all(self) -> tuple[Check, ...]:
        """Make every check of Postgres alone, in the order of `INSPECTED`."""
        looks: tuple[Callable[[Connection], Check], ...] = (
            *(_plan_table, _tables_exposed, _without_owner, _audit_tables),
            _open_imports,
        )
        try:
            status = self._backends.migrator(self._grant).status()
        except BazarError as error:
            migrations = (failed(MIGRATIONS, error), *skipped((MARKER,), "the migrations could not be read"))
        else:
            migrations = (self._migrations(status), _marker(status))
        return (*migrations, *(self._look(n, look) for n, look in zip(INSPECTED[2:], looks, strict=True)))

    def superusers(self) -> Check:
        """Count the active superusers on Premium."""
        return self._look(SUPERUSERS, _superusers)

    def or_behind(self, names: Sequence[str], error: BazarError) -> tuple[Check, ...]:
        """Return these checks as skipped if the schema is too old for them, else as failed."""
        if self.behind and error.code == "db.not_migrated":
            return skipped(names, f"it needs what the database does not have yet: {self.behind}")
        return failed_together(names, error)

    def _look(self, name: str, look: Callable[[Connection], Check]) -> Check:
        try:
            with self._backends.database().read(self._grant) as connection:
                return look(connection)
        except BazarError as error:
            return self.or_behind((name,), error)[0]

    def _migrations(self, status: MigrationStatus) -> Check:
        if status.unknown:
            self.behind = f"it is at revision {status.current}, which this release of bazar does not have"
            remedy = "use the release of bazar that migrated it, or a newer one; `bazar db status` shows the revision"
            return Check(MIGRATIONS, Health.WARNING, self.behind, remedy)
        if status.changed:
            changed = tuple(Affected(None, name=c.revision.id, note=c.revision.message) for c in status.changed)
            said = f"applied from other files than those of this release: {', '.join(a.name for a in changed)}"
            remedy = "use the release that applied them, or put the files back; `bazar db status` shows the checksums"
            return Check(MIGRATIONS, Health.FAILED, said, remedy, len(changed), changed[:SHOWN_ROWS])
        if not status.pending:
            return Check(MIGRATIONS, Health.OK, f"at revision {status.current}, the newest of this release", count=0)
        names = tuple(Affected(None, name=r.id, note=r.message) for r in status.pending)
        self.behind = f"{len(names)} pending, {', '.join(r.name for r in names)}"
        return Check(MIGRATIONS, Health.FAILED, self.behind, "run `bazar db migrate`", len(names), names[:SHOWN_ROWS])


def not_migrated() -> tuple[Check, ...]:
    """Return the checks of a database without tables, which everybody may see."""
    detail = "the database has no tables of bazar yet"
    first = Check(MIGRATIONS, Health.FAILED, detail, "run `bazar db migrate` as SUPERUSER_EMAIL")
    return (first, *skipped(INSPECTED[1:], detail))


def superuser_exists(exists: bool | None) -> Check:
    """Return the check that everybody may see. Parameters: `exists` is None where there are no tables."""
    if exists is None:
        return skipped((SUPERUSERS,), "the database has no tables of bazar yet")[0]
    return Check(SUPERUSERS, Health.OK, "there is an active superuser on Premium") if exists else _no_superuser()


def premium_lacks(permissions: Sequence[str]) -> Check:
    """Return the finding that Premium lacks permissions that superusers need to grant permissions."""
    from bazar_cli.adapters.postgres.doctor.invariants import premium_again

    # By SQL too: the command that adds a permission needs one of those that can be lost.
    commands = ", ".join(f"`bazar plans grant premium {permission}`" for permission in permissions)
    return Check(
        PLAN_TABLE,
        Health.FAILED,
        f"Premium lacks {', '.join(permissions)}, which it must keep",
        f"{commands}; if no user can run that, as the owner of the database: {premium_again(permissions)}",
        len(permissions),
        tuple(Affected(None, name=f"premium {permission}") for permission in permissions),
    )


def _no_superuser() -> Check:
    return Check(SUPERUSERS, Health.FAILED, "there is no active superuser on Premium", _FIRST_SUPERUSER)


def _superusers(connection: Connection) -> Check:
    from bazar_cli.adapters.postgres import superusers

    count = superusers.count_active(connection)
    if not count:
        return _no_superuser()
    alone = ": if that account is lost, no user can promote another one" if count == 1 else ""
    said = f"{count} active superuser{'s' if count > 1 else ''} on Premium{alone}"
    return Check(SUPERUSERS, Health.OK, said, count=count)


def _marker(status: MigrationStatus) -> Check:
    marker = status.place.marker
    if marker is not None:
        kept = "protected" if marker.protected else "unprotected"
        return Check(MARKER, Health.OK, f"environment {marker.environment}, {kept}")
    if status.pending:
        return skipped((MARKER,), "it comes with the pending migrations")[0]
    return Check(
        MARKER,
        Health.FAILED,
        "the row in bazar.deployment is lost, which has this Bazar's id and says whether the database is protected",
        "restore the row from a backup, or make a new one with `bazar db migrate --env NAME`",
    )


def _plan_table(connection: Connection) -> Check:
    from bazar_cli.adapters.postgres.doctor import invariants

    table = invariants.plan_table(connection)
    lacking = [p.value for p in Permission if p in KEPT_BY_PREMIUM and p.value not in table.get("premium", ())]
    missing = [plan for plan in Plan if plan.value not in table]
    if missing:
        return _plans_missing(missing)
    if lacking:
        return premium_lacks(lacking)
    strange = _unknown(table)
    more = f"; not known to this release: {', '.join(strange)}" if strange else ""
    return Check(PLAN_TABLE, Health.OK, f"Premium has what it must keep{more}", count=0)


def _plans_missing(missing: Sequence[Plan]) -> Check:
    from bazar_cli.adapters.postgres.doctor.invariants import plans_again

    return Check(
        PLAN_TABLE,
        Health.FAILED,
        f"the table lacks the plan {', '.join(p.value for p in missing)}",
        f"as the owner of the database: {plans_again(missing)}; then `bazar plans grant PLAN PERMISSION`",
        len(missing),
        tuple(Affected(None, name=p.value) for p in missing),
    )


def _unknown(table: Mapping[str, Sequence[str]]) -> list[str]:
    plans, permissions = {p.value for p in Plan}, {p.value for p in Permission}
    return [
        *(plan for plan in table if plan not in plans),
        *(f"{plan} {p}" for plan, row in table.items() if plan in plans for p in row if p not in permissions),
    ]


def _tables_exposed(connection: Connection) -> Check:
    from bazar_cli.adapters.postgres.doctor.exposure import exposure

    found = exposure(connection)
    name = INSPECTED[3]
    if not found.rows:
        said = "every table has row security, and PUBLIC, anon and authenticated have no access"
        return Check(name, Health.OK, said, count=0)
    return of_rows(
        name,
        Health.FAILED,
        Found(len(found.rows), found.rows[:SHOWN_ROWS]),
        "{rows}: others than the owner of the schema have access, or row security is off",
        f"as the owner of the schema: {found.remedy}",
    )


def _without_owner(connection: Connection) -> Check:
    from bazar_cli.adapters.postgres.doctor import invariants

    name, found = INSPECTED[4], invariants.organizations_without_owner(connection)
    if not found.count:
        return Check(name, Health.OK, "every organization has an active owner", count=0)
    return of_rows(
        name,
        Health.FAILED,
        found,
        "{rows}: no active owner, so no member can manage owners or delete it",
        "`bazar orgs members update ORG USER --role owner` for a member, else "
        "`bazar orgs members add ORG USER --role owner`",
    )


def _audit_tables(connection: Connection) -> Check:
    from bazar_cli.adapters.postgres.audit.tables import unguarded

    name, found = INSPECTED[5], unguarded(connection)
    if not found:
        return Check(name, Health.OK, "the audit log is append-only, and takes every event", count=0)
    rows = tuple(Affected(None, name=f"{gap.table} {gap.name}", note=gap.kind.value) for gap in found)
    return Check(
        name,
        Health.FAILED,
        "; ".join(gap.message for gap in found[:SHOWN_ROWS]),
        f"as the owner of the tables: {'; '.join(gap.remedy for gap in found[:SHOWN_ROWS])}",
        len(rows),
        rows[:SHOWN_ROWS],
    )


def _open_imports(connection: Connection) -> Check:
    """Name the imports that are not finished; those that began long ago and that no command works on are a finding."""
    from bazar_cli.adapters.postgres.imports import runs

    found = runs.open_runs(connection, _OLD_IMPORT)
    if not found:
        return Check(OPEN_IMPORTS, Health.OK, "no import is open", count=0)
    left = [run for run in found if run.is_old and not run.at_work]
    rows = tuple(
        Affected(
            run.id,
            name=f"import {run.id} of {run.operator_email}",
            note=f"begun at {run.started_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}, "
            f"{run.open} of {counted(run.rows, 'row')} left",
        )
        for run in left or found
    )
    said = "; ".join(f"{row.name}: {row.note}" for row in rows[:_NAMED])
    more = f"; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    if not left:
        return Check(OPEN_IMPORTS, Health.OK, f"{said}{more}", count=len(rows), rows=rows[:SHOWN_ROWS])
    first = left[0].id
    return Check(
        OPEN_IMPORTS,
        Health.WARNING,
        f"{said}{more}",
        "run the same `bazar users import` again, with the same file; or end the import and delete its users:"
        f" `bazar users imports undo {first} --confirm {first}`",
        len(rows),
        rows[:SHOWN_ROWS],
    )
