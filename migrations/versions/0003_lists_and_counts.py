"""Lists and counts: members of an organization by page, its owners and admins, users by plan and state.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

revision: str = "0003"
down_revision: str | tuple[str, ...] | None = "0002"
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
    # Counts by plan and state come from this index alone; it serves the foreign key as the one before did.
    op.execute("CREATE INDEX users_plan_state_idx ON bazar.users (plan, state)")
    op.execute("DROP INDEX bazar.users_plan_idx")


def downgrade() -> None:
    op.execute("CREATE INDEX users_plan_idx ON bazar.users (plan)")
    op.execute("DROP INDEX bazar.users_plan_state_idx")
    op.execute("DROP INDEX bazar.memberships_leaders_idx")
    op.execute("DROP INDEX bazar.memberships_organization_id_created_at_user_id_idx")
