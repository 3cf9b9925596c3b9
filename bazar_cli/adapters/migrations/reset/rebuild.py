"""Making bazar's tables anew in one transaction: all of it happens, or nothing does, whenever it is cut off.

What others built on the tables is taken off first and put back after; each of bazar's own is dropped by name and
without CASCADE, so that what is not known here ends the transaction instead of being lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from bazar_cli.adapters.migrations.location import paths, source
from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
from bazar_cli.adapters.migrations.reset import kept, privileges
from bazar_cli.adapters.migrations.reset.dependents import Dependents, built_on, restored
from bazar_cli.adapters.migrations.reset.owned import Owned, made_by, owned_in
from bazar_cli.adapters.migrations.reset.replacement import fill, put_back, take_off
from bazar_cli.adapters.migrations.runner import Migrator
from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.domain.db.migrations import AppliedRevision, LostTable, Migrate, MigrationStatus, Revision, disagreement
from bazar_cli.domain.db.reset import AuditLog, DatabaseReset, ResetPlan
from bazar_cli.domain.errors import BazarError, Conflict, RightsChanged

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.session import MigratingSession
    from bazar_cli.domain.authz.spec import Grant

_LOCAL_PATH = "SET LOCAL search_path = pg_catalog"
Allowed = Callable[[MigrationStatus], None]
Clear = Callable[[UUID | None], int]


@dataclass(frozen=True)
class _Gone:
    """What one transaction took away."""

    previous: str | None
    owned: Owned
    tables: tuple[LostTable, ...]
    dependents: Dependents
    audit: AuditLog | None
    deployment: UUID | None


class Rebuilder(Migrator):
    """The way of one target's database back to its first day."""

    _session_name = "bazar db reset"

    def preview(self, grant: Grant, status: MigrationStatus) -> ResetPlan:
        """Return what would go and what would stay. Writes nothing. Raises: as `translate` says."""
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None, autocommit=True) as connection:
                connection.execute(begin(read_only=True).encode())
                connection.execute(_LOCAL_PATH)
                owned = self._owned(connection, status)
                superusers, created = kept.others(connection, grant.operator.id)
                return ResetPlan(
                    place=status.place,
                    current=status.current,
                    head=status.head,
                    pending=self._revisions,
                    tables=kept.about(connection, owned.tables),
                    unsure=tuple(thing.shown for thing in owned.unsure),
                    strangers=tuple(thing.shown for thing in owned.strangers),
                    dependents=tuple(map(str, _dependents(connection, owned).found)),
                    superusers=superusers,
                    created_users=created,
                    audit=kept.audit_log(connection, sealing=False),
                    deployment=kept.deployment_of(connection),
                )
        except psycopg.Error as error:
            raise translate(error, self._target) from error

    def rebuild(
        self, grant: Grant, allowed: Allowed, clear: Clear | None, notify: Callable[[str], None]
    ) -> DatabaseReset:
        """Drop what bazar owns, migrate to the head, and put back what was kept, in one transaction.

        A revision that runs without a transaction, and those after it, follow as `migrate` runs them.
        Parameters: `allowed` is asked with the tables locked; `clear` gets what stamps the identities and returns how
        many it deleted: before it is called all the rest was tried once and taken back.
        Raises: Conflict `db.needed_by_others`, `db.not_restorable`, `db.rows_refer`, `db.revision_failed`,
        `access.changed`; UsageError `db.revision_form`; BackendUnavailable `postgres.busy`; as `migrating`.
        """
        parts = self._in_one()
        applied: list[AppliedRevision] = []
        gone: list[_Gone] = []
        with self._migrating(Migrate(), notify) as session:

            def once(told: Callable[[str], None] = notify, *, commits: bool = True) -> None:
                applied.clear()
                revisions = self._revisions[:parts]
                gone[:] = [self._once(session, grant, allowed, revisions, applied, told, cleared, commits=commits)]

            cleared = None
            if clear is not None:
                # Nobody brings identities back: what would stop the rest is found before they go.
                notify("Trying the reset before identities are deleted")
                session.run_whole("the reset", lambda: once(_ignore, commits=False))
                cleared = clear(gone[0].deployment)
            session.run_whole("the reset", once)
            moves = self._moves(session, self._log())
            applied += self._apply(session, self._revisions[parts:], moves, notify, applied)
            after, (was,) = self._status_under_lock(session), gone
        return DatabaseReset(
            place=after.place,
            previous=was.previous,
            current=after.current,
            head=after.head,
            applied=tuple(applied),
            pending=after.pending,
            tables=was.tables,
            strangers=tuple(thing.shown for thing in was.owned.strangers),
            dependents=tuple(map(str, was.dependents.found)),
            superuser=grant.operator.email,
            audit=was.audit,
            identities=cleared,
            waited_ms=session.lock.milliseconds,
            holder=session.lock.holder,
        )

    def rehearse(self, grant: Grant, allowed: Allowed, notify: Callable[[str], None]) -> None:
        """Do under the same locks what `rebuild` does in its one transaction, and take all of it back.

        A revision that runs without a transaction, and those after it, are not tried: nothing takes them back.
        Raises: as `rebuild`.
        """
        revisions = self._revisions[: self._in_one()]
        with self._migrating(Migrate(), notify) as session:

            def once() -> None:
                self._once(session, grant, allowed, revisions, [], _ignore, None, commits=False)

            session.run_whole("the reset", once)

    def _in_one(self) -> int:
        """How many revisions the transaction of a reset takes. Raises: as `rebuild`, before anything is opened."""
        refuse_pooler_port(self._url)
        self._refuse_mixed(self._revisions)
        return next((i for i, r in enumerate(self._revisions) if not r.transactional), len(self._revisions))

    def _once(
        self,
        session: MigratingSession,
        grant: Grant,
        allowed: Allowed,
        revisions: tuple[Revision, ...],
        applied: list[AppliedRevision],
        notify: Callable[[str], None],
        cleared: int | None,
        *,
        commits: bool,
    ) -> _Gone:
        from bazar_cli.adapters.postgres.operator_rights import hold_operator
        from bazar_cli.adapters.postgres.superusers import refuse_if_one_exists

        operator, driver = grant.operator, session.driver
        with session.connection.begin() as transaction:
            driver.execute(_LOCAL_PATH)
            owned = self._locked(driver)
            status = self._status(driver)
            allowed(as_held(status, owned.tables))
            try:
                (refuse_if_one_exists if grant.bootstrap else hold_operator)(driver, grant)
            except RightsChanged as changed:
                if cleared is None:
                    raise
                raise _changed_too_late(cleared) from changed
            rows = kept.kept_of(driver, operator.id)
            events = kept.audit_log(driver, sealing=True)
            counts = kept.counted(driver, owned.tables)
            oids = owned.oids("relation"), owned.oids("routine"), owned.oids("type")
            dependents = _dependents(driver, owned)
            granted, on_views = privileges.read(driver, *oids), privileges.read(driver, dependents.views, [], [])
            same = status.current == status.head and disagreement(status) is None
            gone = _Gone(status.current, owned, counts, dependents, events, kept.deployment_of(driver))
            if owned.things:
                notify(f"Dropping {len(owned.tables)} tables")
            taken = take_off(driver, owned.things, dependents)
            self._migrate_within(session, revisions, applied, notify)
            driver.execute(_LOCAL_PATH)
            kept.carry_over(driver, rows, operator.id, operator.email)
            # Views and foreign keys are read and checked by their owners, who need their grants for it.
            privileges.restore(driver, granted, exactly=same)
            put_back(driver, taken, revisions[-1].id)
            restored(driver, dependents)
            privileges.restore(driver, on_views, exactly=True)
            fill(driver, taken, revisions[-1].id)
            self._record(session, grant, gone, revisions, cleared)
            if not commits:
                transaction.rollback()
        return gone

    def _locked(self, driver: psycopg.Connection) -> Owned:
        """Lock the tables, so that what is counted and kept is what goes."""
        owned = self._owned(driver, self._status(driver))
        if owned.tables:
            driver.execute(f"LOCK TABLE {', '.join(owned.tables)} IN ACCESS EXCLUSIVE MODE".encode())
        return owned

    def _owned(self, connection: psycopg.Connection, status: MigrationStatus) -> Owned:
        return owned_in(connection, self.made, by_other_files=disagreement(status) is not None)

    @cached_property
    def made(self) -> frozenset[tuple[str, str]]:
        """What the revisions of this release make, by kind and name.

        One whose SQL depends on rows is read as its file has it.
        """
        from bazar_cli.adapters.migrations.rendering import written

        files = paths(self._location)
        texts = written(self._up(None, self._revisions), self._revisions).items()
        return made_by(
            "\n".join(source(files[name]).decode("utf-8-sig") if sql is None else sql for name, sql in texts)
        )

    def _migrate_within(
        self,
        session: MigratingSession,
        revisions: tuple[Revision, ...],
        applied: list[AppliedRevision],
        notify: Callable[[str], None],
    ) -> None:
        from bazar_cli.adapters.migrations.session import failed_within

        if not revisions:
            return
        at = revisions[0]

        def course() -> Iterator[str]:
            nonlocal at
            for at in revisions:
                notify(f"Applying {at.id}: {at.message}")
                began = time.monotonic()
                yield at.id
                applied.append(AppliedRevision(at, round((time.monotonic() - began) * 1000), 0))

        try:
            self._moves(session, self._log(), within=True).up(course())
        except BazarError:
            raise
        except Exception as error:  # a revision is code of its own, which may raise anything
            raise failed_within(error, at) from error

    def _record(
        self,
        session: MigratingSession,
        grant: Grant,
        gone: _Gone,
        revisions: tuple[Revision, ...],
        cleared: int | None,
    ) -> None:
        from bazar_cli.adapters.postgres.audit import events

        log = gone.audit
        before = {
            "revision": gone.previous,
            "tables": {table.name: table.rows for table in gone.tables},
            "audit": None if log is None else {"events": log.events, "head": log.head},
        }
        after = {"revision": revisions[-1].id if revisions else None, "identities_deleted": cleared}
        database = session.driver.info.dbname
        events.record(session.driver, grant, events.Change("database", database, before=before, after=after))


def _changed_too_late(identities: int) -> Conflict:
    return Conflict(
        "access.changed",
        f"your rights changed while the command ran, after it had deleted {identities} identities at Supabase;"
        " the database is as it was",
        hint="ask a superuser to run it again",
        details={"identities": identities},
    )


def _ignore(_text: str) -> None:
    """Of what is taken back nobody is told that it was done."""


def as_held(status: MigrationStatus, tables: Sequence[object]) -> MigrationStatus:
    """Return the status as a guard is to see it: where bazar's tables are, Alembic's own may be gone."""
    return replace(status, current=status.current or "no revision") if tables else status


def _dependents(connection: psycopg.Connection, owned: Owned) -> Dependents:
    return built_on(connection, owned.oids("relation"), owned.oids("routine"), owned.oids("type"))
