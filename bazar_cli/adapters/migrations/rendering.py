"""The SQL of revisions, rendered without a database: as one script, and revision by revision."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.migrations.autogenerate_filter import VERSION_TABLE
from bazar_cli.adapters.migrations.log import MigrationLog
from bazar_cli.adapters.postgres.tables import SCHEMA
from bazar_cli.domain.db.destruction import is_destructive
from bazar_cli.domain.errors import BazarError, Conflict

if TYPE_CHECKING:
    from bazar_cli.domain.db.migrations import Revision

_OF_ALEMBIC = re.compile(rf"^(?:INSERT INTO|UPDATE|DELETE FROM) {SCHEMA}\.{VERSION_TABLE}\b[^;]*;", re.M)


class Script(MigrationLog):
    """What Alembic writes instead of running it, and which part of it is whose."""

    def __init__(self) -> None:
        super().__init__()
        self.output = io.StringIO()
        self.parts: dict[str, str] = {}
        self._begun = 0

    def __call__(self, *, ctx: Any, step: Any, heads: set[str], run_args: dict[str, Any]) -> None:
        """Keep what was written for one step, but for its note in Alembic's table; then log it.

        Parameters: the hook's own.
        """
        self.parts[step.up_revision_id] = _OF_ALEMBIC.sub("", self.output.getvalue()[self._begun :])
        super().__call__(ctx=ctx, step=step, heads=heads, run_args=run_args)
        self._begun = self.output.tell()


def rendered(render: Callable[[Script, int], None], way: tuple[Revision, ...]) -> tuple[str, tuple[Revision, ...]]:
    """Return the SQL of a way over revisions, and these with what it does.

    Parameters: `render` writes the script of the way from the revision at that place on.
    Raises: Conflict `db.revision_needs_data`, `db.revision_unreadable`.
    """
    script = Script()
    error = _attempt(render, script, 0)
    if error is not None:
        failed = next(r for r in way if r.id not in script.parts)
        raise Conflict(
            "db.revision_needs_data",
            f"revision {failed.id} has no SQL without a database: {type(error).__name__}: {error}",
            hint="`bazar db status` names what is pending; a revision that reads rows can only be run",
            details={"revision": failed.id},
        ) from error
    return script.output.getvalue(), tuple(_judged(r, script.parts[r.id]) for r in way)


def judged(render: Callable[[Script, int], None], way: tuple[Revision, ...]) -> tuple[Revision, ...]:
    """Return the revisions of a way with what it does; of one whose SQL depends on data that stays open.

    Parameters: as of `rendered`.
    """
    return tuple(_judged(r, sql) for r, sql in zip(way, written(render, way).values(), strict=True))


def written(render: Callable[[Script, int], None], way: tuple[Revision, ...]) -> dict[str, str | None]:
    """Return the SQL of each revision of a way; None for one whose SQL depends on data.

    Parameters: as of `rendered`.
    """
    found: dict[str, str | None] = {}
    while len(found) < len(way):
        script = Script()
        _attempt(render, script, len(found))
        for revision in way[len(found) :]:
            found[revision.id] = script.parts.get(revision.id)
            if found[revision.id] is None:
                break  # the script begins anew behind the one that stopped it
    return found


def _judged(revision: Revision, sql: str | None) -> Revision:
    return revision if sql is None else replace(revision, destructive=is_destructive(sql))


def _attempt(render: Callable[[Script, int], None], script: Script, start: int) -> Exception | None:
    try:
        render(script, start)
    except BazarError:
        raise
    except Exception as error:  # noqa: BLE001 - a revision is code of its own, which may do anything without a database
        return error
    return None
