"""The log of migrations: a row for each revision that went up or down, in that revision's own transaction.

Alembic's hook `on_version_apply` writes it, for `bazar db` and for plain Alembic. Revision 0004 makes the table, and no
later revision may drop these columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, DateTime, Text, column, insert, table, text, update

from bazar_cli import __version__
from bazar_cli.adapters.migrations.connection import driver_of
from bazar_cli.adapters.migrations.revision_files import checksum
from bazar_cli.adapters.postgres.audit import events
from bazar_cli.adapters.postgres.tables import SCHEMA

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from bazar_cli.domain.authz.spec import Grant

_FIRST = "0004"
_LOG = table(
    "migration_log",
    column("revision", Text),
    column("direction", Text),
    column("checksum", Text),
    column("started_at", DateTime(timezone=True)),
    column("duration_ms", BigInteger),
    column("operator_email", Text),
    column("bazar_version", Text),
    column("request_id", Text),
    schema=SCHEMA,
)


@dataclass(frozen=True)
class _Row:
    checksum: str
    started_at: datetime | None
    duration_ms: int | None
    operator_email: str | None
    bazar_version: str
    request_id: str | None


@dataclass(frozen=True)
class MigrationPath:
    """The revision before a run, and the revisions that it applies."""

    before: str | None
    revisions: tuple[str, ...]


class MigrationLog:
    """Writes the log of one run, and its events in the audit log.

    Parameters: `grant` names the operator; None for plain Alembic, whose user is unknown. With `audited` each step also
    records an event; with `path` its last step records one event for the whole run.
    """

    def __init__(self, grant: Grant | None = None, *, audited: bool = False, path: MigrationPath | None = None) -> None:
        self._grant = grant
        self._audited = audited
        self._path = path
        self._earlier: dict[str, _Row] = {}
        self._there = False
        self._wall = datetime.now(timezone.utc)
        self._clock = time.monotonic()

    def start(self) -> None:
        """Start the clock for the next revision."""
        self._wall = datetime.now(timezone.utc)
        self._clock = time.monotonic()

    def __call__(self, *, ctx: Any, step: Any, heads: set[str], run_args: dict[str, Any]) -> None:
        """Log one step, unless it is a stamp, which runs no file. Parameters: the hook's own."""
        del run_args
        if not step.is_stamp:
            row = self._row(ctx, step)
            self._there = (self._there and step.is_upgrade) or _has_log(ctx, step)
            if not self._there:
                self._remember(step, row)
            else:
                self._complete_earlier(ctx)
                direction = "up" if step.is_upgrade else "down"
                ctx.impl.execute(insert(_LOG).values(revision=step.up_revision_id, direction=direction, **vars(row)))
            if self._grant is not None and not ctx.as_sql:
                self._record(ctx.connection, self._grant, step, heads)
        self.start()

    def _record(self, connection: Connection, grant: Grant, step: Any, heads: set[str]) -> None:
        """Append an event to the audit log, which the database has at every revision."""
        if self._audited:
            record(connection, grant, {"revision": _named(step.source_revision_ids)}, {"revision": _named(heads)})
        elif self._path is not None and step.up_revision_id == self._path.revisions[-1]:
            after = {"revision": _named(heads), "revisions": list(self._path.revisions)}
            record(connection, grant, {"revision": self._path.before}, after)

    def _row(self, ctx: Any, step: Any) -> _Row:
        if ctx.as_sql:
            # A script has no operator and no time yet.
            return _Row(checksum(step.up_revision.path), None, None, None, __version__, None)
        return _Row(
            checksum=checksum(step.up_revision.path),
            started_at=self._wall,
            duration_ms=round((time.monotonic() - self._clock) * 1000),
            operator_email=None if self._grant is None else self._grant.operator.email,
            bazar_version=__version__,
            request_id=None if self._grant is None else self._grant.request_id,
        )

    def _remember(self, step: Any, row: _Row) -> None:
        if step.is_upgrade:
            self._earlier[step.up_revision_id] = row
        else:
            self._earlier.pop(step.up_revision_id, None)

    def _complete_earlier(self, ctx: Any) -> None:
        """Complete the rows of revisions that this run applied before the log existed."""
        for revision, row in self._earlier.items():
            ctx.impl.execute(
                update(_LOG).where(_LOG.c.revision == revision, _LOG.c.checksum.is_(None)).values(**vars(row))
            )
        self._earlier.clear()


def record(
    connection: Connection, grant: Grant, before: Mapping[str, object] | None, after: Mapping[str, object]
) -> None:
    """Append an event about the database of the connection, in its transaction."""
    database = connection.execute(text("SELECT current_database()")).scalar_one()
    events.record(driver_of(connection), grant, events.Change("database", database, before=before, after=after))


def _named(revisions: Iterable[str]) -> str | None:
    return ", ".join(sorted(revisions)) or None


def _has_log(ctx: Any, step: Any) -> bool:
    """Return whether the table exists after this step. A script has no database, so its revisions decide."""
    if not ctx.as_sql:
        return ctx.connection.execute(text(f"SELECT to_regclass('{SCHEMA}.{_LOG.name}')")).scalar_one() is not None
    lineage = step.revision_map.iterate_revisions(step.destination_revision_ids, "base", inclusive=True)
    return _FIRST in {script.revision for script in lineage}
