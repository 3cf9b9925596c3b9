"""Rolling revisions back, the newest first, and applying them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.pooler import refuse_pooler_port
from bazar_cli.adapters.migrations.revision_files import tips
from bazar_cli.adapters.postgres.connections import begin, connect
from bazar_cli.adapters.postgres.errors import translate
from bazar_cli.adapters.postgres.row_estimates import estimated_rows
from bazar_cli.domain.db.migrations import (
    AppliedRevision,
    LostTable,
    Migrate,
    MigrationStatus,
    Revision,
    RolledBack,
    disagreement,
    moved,
)
from bazar_cli.domain.errors import UsageError

if TYPE_CHECKING:
    from bazar_cli.adapters.migrations.alembic_run import AlembicRun
    from bazar_cli.adapters.migrations.offline_sql import ScriptLog
    from bazar_cli.adapters.migrations.session import MigratingSession


class Reverter(Migrator):
    """Rolls back the migrations of one target."""

    def chosen(self, status: MigrationStatus, steps: int | None, to: str | None) -> tuple[Revision, ...]:
        """Return the revisions to roll back, the newest first: the last `steps`, or all after the revision `to`.

        Raises: Conflict `db.unknown_revision`; UsageError `db.no_such_revision`, `db.rollback_to_base`.
        """
        wrong = disagreement(status) if status.unknown else None
        if wrong is not None:
            raise wrong
        applied = [r.id for r in status.applied]
        if to is not None and to not in {*applied, "base"}:
            raise UsageError(
                "db.no_such_revision",
                f"no revision {to!r} is applied",
                hint=f"choose one of: {', '.join(applied)}" if applied else "run `bazar db migrate` first",
            )
        if to == "base":
            kept = 0
        elif to is not None:
            kept = applied.index(to) + 1
        else:
            kept = len(applied) - (1 if steps is None else steps)
        if kept < 1 and applied:
            raise UsageError(
                "db.rollback_to_base",
                f"the first revision, {applied[0]}, holds the operators and the marker, and is never rolled back",
                hint=f"`bazar db rollback --to {applied[0]}` rolls back all the others",
            )
        return tuple(reversed(status.applied[max(kept, 0) :]))

    def preview(self, status: MigrationStatus, chosen: tuple[Revision, ...], *, again: bool = False) -> RolledBack:
        """Return what rolling back would drop, with its SQL; with `again` also the SQL to apply it again.

        Writes nothing. Raises: Conflict `db.revision_needs_data`; as `translate` says.
        """
        from bazar_cli.adapters.migrations.offline_sql import rendered_sql

        sql = rendered_sql(self._down(status, chosen), chosen) if chosen else ""
        if again and chosen:
            left = ", ".join(tips(self._location, _without(status, chosen)))
            sql = f"{sql}\n{self._sql(left or None, chosen[::-1], Migrate())}"
        lost = [name for revision in chosen for name in revision.downgrade_loses]
        return RolledBack(
            place=status.place,
            current=status.current,
            head=status.head,
            reverted=(),
            applied=(),
            would_revert=tuple(replace(r, destructive=bool(r.downgrade_loses)) for r in chosen),
            would_apply=chosen[::-1] if again else (),
            pending=status.pending,
            lost_tables=self._about_rows([name for name in lost if name.count(".") == 1]),
            lost_columns=tuple(name for name in lost if name.count(".") == 2),
            waited_ms=0,
            holder=None,
            sql=sql,
        )

    def revert(
        self,
        seen: RolledBack,
        check: Callable[[MigrationStatus], None],
        notify: Callable[[str], None],
        *,
        again: bool,
        statement_timeout: float | None = None,
    ) -> RolledBack:
        """Roll back what `preview` showed, each revision in its own transaction; with `again` apply it again.

        Parameters: `check` raises what forbids it, under the lock; `statement_timeout` as in
        `Migrate`.
        Raises: Conflict `db.moved`; UsageError `db.revision_form`; as `migrating` and `MigratingSession.run`.
        """
        from bazar_cli.adapters.migrations.log import MigrationLog

        refuse_pooler_port(self._url)
        with self._migrating(Migrate(statement_timeout=statement_timeout), notify) as session:
            status = self._status_under_lock(session)
            check(status)
            if status.current != seen.current:
                raise moved(seen.current, status.current)
            self._refuse_mixed(seen.would_revert)
            alembic = self._alembic_run(session, MigrationLog(self._grant, audited=True))
            reverted = self._revert(session, seen.would_revert, alembic, notify)
            applied = self._apply(session, seen.would_revert[::-1] if again else (), alembic, notify)
            after = self._status_under_lock(session)
        return RolledBack(
            place=after.place,
            current=after.current,
            head=after.head,
            reverted=tuple(reverted),
            applied=tuple(applied),
            would_revert=(),
            would_apply=(),
            pending=after.pending,
            lost_tables=seen.lost_tables,
            lost_columns=seen.lost_columns,
            waited_ms=session.lock.milliseconds,
            holder=session.lock.holder,
        )

    def _revert(
        self,
        session: MigratingSession,
        revisions: Sequence[Revision],
        alembic: AlembicRun,
        notify: Callable[[str], None],
    ) -> list[AppliedRevision]:
        resume = f"correct the cause, then run `bazar db rollback --to {self._below(revisions[-1])}`"
        return session.run(revisions, alembic.down, lambda r: notify(f"Rolling back {r.id}: {r.message}"), resume)

    def _below(self, revision: Revision) -> str:
        known = [r.id for r in self._revisions]
        return known[known.index(revision.id) - 1]

    def _down(self, status: MigrationStatus, chosen: tuple[Revision, ...]) -> Callable[[ScriptLog], None]:
        def render(script: ScriptLog) -> None:
            self._written(script, [r.id for r in status.applied]).down(r.id for r in chosen)

        return render

    def _about_rows(self, tables: list[str]) -> tuple[LostTable, ...]:
        if not tables:
            return ()
        try:
            with connect(self._url, connect_timeout=10, prepare_threshold=None, autocommit=True) as connection:
                connection.execute(begin(read_only=True))
                return estimated_rows(connection, tables)
        except psycopg.Error as error:
            raise translate(error, self._target) from error


def _without(status: MigrationStatus, removed: Sequence[Revision]) -> list[str]:
    ids = {revision.id for revision in removed}
    return [r.id for r in status.applied if r.id not in ids]
