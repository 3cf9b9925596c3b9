"""The SQL of revisions, rendered without a database."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.migrations.log import MigrationLog
from bazar_cli.domain.errors import BazarError, Conflict

if TYPE_CHECKING:
    from bazar_cli.domain.db.migrations import Revision


class ScriptLog(MigrationLog):
    """Logs the revisions of a script that Alembic writes to `output` instead of running it."""

    def __init__(self) -> None:
        super().__init__()
        self.output = io.StringIO()
        self.written: list[str] = []
        """The revisions that are in the script."""

    def __call__(self, *, ctx: Any, step: Any, heads: set[str], run_args: dict[str, Any]) -> None:
        """Log one revision. Parameters: the hook's own."""
        super().__call__(ctx=ctx, step=step, heads=heads, run_args=run_args)
        self.written.append(step.up_revision_id)


def rendered_sql(render: Callable[[ScriptLog], None], revisions: tuple[Revision, ...]) -> str:
    """Return the SQL that runs over revisions. Parameters: `render` writes it.

    Raises: Conflict `db.revision_needs_data`, `db.revision_unreadable`.
    """
    script = ScriptLog()
    try:
        render(script)
    except BazarError:
        raise
    except Exception as error:  # the code of a revision may raise anything without a database
        failed = next(r for r in revisions if r.id not in script.written)
        raise Conflict(
            "db.revision_needs_data",
            f"revision {failed.id} has no SQL without a database: {type(error).__name__}: {error}",
            hint="run it: a revision that reads rows cannot be shown as SQL",
            details={"revision": failed.id},
        ) from error
    return script.output.getvalue()
