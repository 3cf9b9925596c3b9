"""Imports: which rows were undone, which chose their id, and of finished rows only the values that an undo needs.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision: str = "0007"
down_revision: str | tuple[str, ...] | None = "0006"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

downgrade_loses: tuple[str, ...] = ("bazar.import_runs.undone_at", "bazar.import_rows.chosen_id")

_STATUS = "ALTER TABLE bazar.import_rows ADD CONSTRAINT import_rows_status_check CHECK (status IN ({}))"
_BEFORE = "'open', 'created', 'updated', 'unchanged', 'skipped', 'failed'"


def upgrade() -> None:
    op.execute("ALTER TABLE bazar.import_runs ADD COLUMN undone_at timestamptz")
    op.execute("ALTER TABLE bazar.import_rows ADD COLUMN chosen_id boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE bazar.import_rows DROP CONSTRAINT import_rows_status_check")
    op.execute(_STATUS.format(f"{_BEFORE}, 'undone'"))
    op.execute(
        """
        UPDATE bazar.import_rows
        SET name = NULL, plan = NULL, user_metadata = NULL, app_metadata = NULL,
            organizations = CASE status WHEN 'created' THEN organizations END
        WHERE status <> 'open'
        """
    )


def downgrade() -> None:
    # An undo before this revision left the status of its rows.
    op.execute("UPDATE bazar.import_rows SET status = 'created' WHERE status = 'undone' AND action = 'create'")
    op.execute("UPDATE bazar.import_rows SET status = 'failed' WHERE status = 'undone'")
    op.execute("ALTER TABLE bazar.import_rows DROP CONSTRAINT import_rows_status_check")
    op.execute(_STATUS.format(_BEFORE))
    op.execute("ALTER TABLE bazar.import_rows DROP COLUMN chosen_id")
    op.execute("ALTER TABLE bazar.import_runs DROP COLUMN undone_at")
