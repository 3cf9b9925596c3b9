"""Member lists: pages of an organization's members, and its owners and admins, from an index.

Revision ID: 0003
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision: str = "0003"
down_revision: str | tuple[str, ...] | None = "0001"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX memberships_organization_id_created_at_user_id_idx"
        " ON bazar.memberships (organization_id, created_at, user_id)"
    )
    # Among a million members the few who have another role are found, and the last owner is told, by this one.
    op.execute(
        "CREATE INDEX memberships_leaders_idx"
        " ON bazar.memberships (organization_id, created_at, user_id) WHERE role <> 'member'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX bazar.memberships_leaders_idx")
    op.execute("DROP INDEX bazar.memberships_organization_id_created_at_user_id_idx")
