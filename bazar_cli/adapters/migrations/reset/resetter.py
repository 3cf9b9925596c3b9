"""`db reset` in one transaction: all of it happens, or nothing does, whenever it is cut off.

At the head bazar's tables are emptied in place. From another revision they are dropped and created again, unless
objects of others depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
from bazar_cli.adapters.migrations.reset import kept
from bazar_cli.adapters.migrations.reset.dependents import statements_to_drop
from bazar_cli.adapters.migrations.reset.in_place import emptied_tables, empty_in_place, foreign_keys
from bazar_cli.adapters.migrations.reset.owned import OwnedObjects, names_made_by, owned_objects
from bazar_cli.adapters.migrations.revision_files import paths
from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.db.migrations import AppliedRevision, Migrate, MigrationStatus, Revision, disagreement
from bazar_cli.domain.db.reset import DatabaseReset, ResetPlan, needed_by_others
from bazar_cli.domain.errors import BazarError, Conflict, RightsChanged
from bazar_cli.domain.texts import counted

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.session import MigratingSession
    from bazar_cli.domain.authz.spec import Grant

_LOCAL_PATH = "SET LOCAL search_path = pg_catalog"
_LOCK_SECONDS = 0.5
"""Below the `deadlock_timeout` of 1 s: if a reader and the reset wait for each other, the reset tries again."""


@dataclass(frozen=True)
class Checks:
    """The checks that can forbid a reset; they run again with the tables locked."""

    status: Callable[[MigrationStatus], None]
    plan: Callable[[ResetPlan], None]


DeleteIdentities = Callable[[UUID | None], int]


class Resetter(Migrator):
    """Resets the database of one target."""

    _session_name = "bazar db reset"

    def preview(self, grant: Grant, status: MigrationStatus) -> ResetPlan:
        """Return what a reset would delete and keep. Writes nothing. Raises: as `translate` says."""
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None, autocommit=True) as connection:
                connection.execute(begin(read_only=True))
                connection.execute(_LOCAL_PATH)
                owned = self._owned(connection, status)
                return self._plan(connection, grant, status, owned, exactly=False)
        except psycopg.Error as error:
            raise translate(error, self._target) from error

    def reset(
        self, grant: Grant, checks: Checks, delete: DeleteIdentities | None, notify: Callable[[str], None]
    ) -> DatabaseReset:
        """Reset the database in one transaction; migrate it to the head if it was not there.

        A revision that runs without a transaction, and those after it, follow as `migrate` runs them.
        Parameters: `checks` raise what forbids the reset; `delete` gets what stamps the identities and returns how many
        it deleted. Before it is called, all the rest is tried once and rolled back.
        Raises: Conflict `db.needed_by_others`, `db.rows_refer`, `db.revision_failed`, `db.superuser_exists`,
        `access.changed`; UsageError `db.revision_form`; BackendUnavailable `postgres.busy`; as `migrating`.
        """
        revisions, later = self._split_revisions()
        deleted: int | None = None
        with self._migrating(Migrate(lock_timeout=_LOCK_SECONDS), notify) as session:
            if delete is not None:
                # Deleted identities cannot be restored, so a trial run finds errors before the deletion.
                notify("Trying the reset before identities are deleted")
                plan, _ = self._try(session, grant, checks, revisions)
                deleted = delete(plan.deployment)

            def once() -> tuple[ResetPlan, list[AppliedRevision]]:
                with session.connection.begin():
                    return self._once(session, grant, checks, revisions, notify, deleted)

            plan, applied = session.run_in_one_transaction("the reset", once)
            if not plan.in_place:
                applied += self._apply(session, later, self._alembic_run(session, self._log()), notify, applied)
            after = self._status_under_lock(session)
        return replace(
            plan.result(grant.operator.email, deleted),
            place=after.place,
            current=after.current,
            applied=tuple(applied),
            pending=after.pending,
            waited_ms=session.lock.milliseconds,
            holder=session.lock.holder,
        )

    def rehearse(self, grant: Grant, checks: Checks, notify: Callable[[str], None]) -> None:
        """Do under the same locks what `reset` does in its one transaction, and roll it back.

        A revision that runs without a transaction, and those after it, are not tried: nothing rolls them back.
        Raises: as `reset`.
        """
        revisions, _ = self._split_revisions()
        with self._migrating(Migrate(lock_timeout=_LOCK_SECONDS), notify) as session:
            self._try(session, grant, checks, revisions)

    def _split_revisions(self) -> tuple[tuple[Revision, ...], tuple[Revision, ...]]:
        """The revisions that one transaction takes, and those after them.

        Raises: as `reset`, before anything is opened.
        """
        refuse_pooler_port(self._url)
        self._refuse_mixed(self._revisions)
        count = next((i for i, r in enumerate(self._revisions) if not r.transactional), len(self._revisions))
        return self._revisions[:count], self._revisions[count:]

    def _try(
        self, session: MigratingSession, grant: Grant, checks: Checks, revisions: tuple[Revision, ...]
    ) -> tuple[ResetPlan, list[AppliedRevision]]:
        def once() -> tuple[ResetPlan, list[AppliedRevision]]:
            with session.connection.begin() as transaction:
                done = self._once(session, grant, checks, revisions, lambda _text: None, None)
                transaction.rollback()
            return done

        return session.run_in_one_transaction("the reset", once)

    def _once(
        self,
        session: MigratingSession,
        grant: Grant,
        checks: Checks,
        revisions: tuple[Revision, ...],
        notify: Callable[[str], None],
        deleted: int | None,
    ) -> tuple[ResetPlan, list[AppliedRevision]]:
        """Reset within the transaction that is open; return what that deletes and which revisions it applied."""
        from bazar_cli.adapters.postgres.operator_rights import hold_operator
        from bazar_cli.adapters.postgres.superusers import refuse_if_one_exists

        operator, driver = grant.operator, session.driver
        driver.execute(_LOCAL_PATH)
        tables = self._owned(driver, self._status(driver)).tables
        if tables:
            # From here on the counted and kept rows cannot change.
            driver.execute(f"LOCK TABLE {', '.join(f'ONLY {t}' for t in tables)} IN ACCESS EXCLUSIVE MODE".encode())
        status = self._status(driver)
        owned = self._owned(driver, status)
        checks.status(status_for_guard(status, owned.tables))
        try:
            (refuse_if_one_exists if grant.bootstrap else hold_operator)(session.driver, grant)
        except RightsChanged as changed:
            if deleted is None:
                raise
            raise _changed_too_late(deleted) from changed
        plan = self._plan(driver, grant, status, owned, exactly=True)
        checks.plan(plan)
        applied: list[AppliedRevision] = []
        if plan.in_place:
            notify(f"Emptying {counted(len(plan.tables), 'table')}")
            empty_in_place(driver, tuple(table.name for table in plan.tables), operator.id, operator.email)
        else:
            if plan.dependents:
                raise needed_by_others(plan)
            rows = kept.read_kept(driver, operator.id, operator.email)
            if owned.objects:
                notify(f"Dropping {counted(len(plan.tables), 'table')}")
            for statement in owned.drops:
                driver.execute(statement.encode())
            applied = self._migrate_within(session, revisions, notify)
            driver.execute(_LOCAL_PATH)
            kept.write_kept(driver, rows)
        self._record(session, grant, plan, revisions[-1].id if revisions else None, deleted)
        return plan, applied

    def _owned(self, connection: psycopg.Connection, status: MigrationStatus) -> OwnedObjects:
        made = names_made_by(paths(self._location).values())
        return owned_objects(connection, made, by_other_files=disagreement(status) is not None)

    def _plan(
        self,
        connection: psycopg.Connection,
        grant: Grant,
        status: MigrationStatus,
        owned: OwnedObjects,
        *,
        exactly: bool,
    ) -> ResetPlan:
        """Return the plan; with `exactly` all rows are counted, and all audit events are sealed first."""
        in_place = status.current == status.head and disagreement(status) is None and not owned.missing
        tables = emptied_tables(owned) if in_place else owned.tables
        superusers, created = kept.other_users(connection, grant.operator.id)
        return ResetPlan(
            place=status.place,
            current=status.current,
            head=status.head,
            in_place=in_place,
            missing=owned.missing if status.current == status.head else (),
            pending=() if in_place else self._revisions,
            audit=kept.audit_log(connection, sealing=exactly),
            tables=(kept.counted_rows if exactly else kept.about_rows)(connection, tables),
            unsure=tuple(o.name for o in owned.unknown),
            strangers=tuple(o.name for o in owned.foreign),
            dependents=() if in_place else statements_to_drop(connection, owned.objects),
            foreign_keys=tuple(key.name for key in foreign_keys(connection, tables)) if in_place else (),
            superusers=superusers,
            created_users=created,
            deployment=kept.deployment_id(connection),
        )

    def _migrate_within(
        self, session: MigratingSession, revisions: tuple[Revision, ...], notify: Callable[[str], None]
    ) -> list[AppliedRevision]:
        from bazar_cli.adapters.migrations.session import failed_within

        applied: list[AppliedRevision] = []
        if not revisions:
            return applied
        at = revisions[0]

        def names() -> Iterator[str]:
            nonlocal at
            for at in revisions:
                notify(f"Applying {at.id}: {at.message}")
                began = time.monotonic()
                yield at.id
                applied.append(AppliedRevision(at, round((time.monotonic() - began) * 1000), 0))

        try:
            self._alembic_run(session, self._log(), within=True).up(names())
        except BazarError:
            raise
        except Exception as error:  # the code of a revision may raise anything
            raise failed_within(error, at) from error
        return applied

    def _record(
        self, session: MigratingSession, grant: Grant, plan: ResetPlan, revision: str | None, deleted: int | None
    ) -> None:
        from bazar_cli.adapters.postgres.audit import events

        log = plan.audit
        before = {
            "revision": plan.current,
            "tables": {table.name: table.rows for table in plan.tables},
            "audit": None if log is None else {"events": log.events, "head": log.head},
        }
        after = {"revision": plan.head if plan.in_place else revision, "identities_deleted": deleted}
        change = events.Change("database", plan.place.database, before=before, after=after)
        events.record(session.driver, grant, change)


def status_for_guard(status: MigrationStatus, tables: Sequence[object]) -> MigrationStatus:
    """Return the status for a guard: a database with bazar's tables has a revision, even without Alembic's table."""
    return replace(status, current=status.current or "no revision") if tables else status


def _changed_too_late(identities: int) -> Conflict:
    return Conflict(
        "access.changed",
        f"your rights changed while the command ran, after it had deleted {counted(identities, 'identity')} at"
        " Supabase; the database is unchanged",
        hint="ask a superuser to run it again",
        details={"identities": identities},
    )
