"""Deletions by the organizations that the deleted users were in, so that their admins find them among all others.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op

revision: str = "0005"
down_revision: str | tuple[str, ...] | None = "0004"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    # In a transaction, not CONCURRENTLY: who writes an event waits meanwhile, 0.3 s with a million events, and gives up
    # after 15 s; who reads does not wait. With a step of its own `bazar db reset` would no longer be all or nothing.
    # Deletions are rare, so each goes into the index at once: readers pass over no list of new ones (fastupdate).
    op.execute(
        """
        CREATE INDEX audit_events_deleted_from_idx ON bazar.audit_events
        USING gin (jsonb_path_query_array(before, '$.organizations[*].id')) WITH (fastupdate = off)
        WHERE use_case = 'users.delete' AND outcome = 'done' AND organization_id IS NULL
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX bazar.audit_events_deleted_from_idx")
