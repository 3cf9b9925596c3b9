"""A log of migrations: which file was applied, when, by whom.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision: str = "0004"
down_revision: str | tuple[str, ...] | None = "0003"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

_TABLE = """
    CREATE TABLE bazar.migration_log (
        id bigint GENERATED ALWAYS AS IDENTITY,
        revision text NOT NULL,
        direction text NOT NULL,
        checksum text,
        started_at timestamptz,
        duration_ms bigint,
        operator_email text,
        bazar_version text,
        request_id text,
        CONSTRAINT migration_log_pkey PRIMARY KEY (id),
        CONSTRAINT migration_log_direction_check CHECK (direction IN ('up', 'down')),
        CONSTRAINT migration_log_checksum_check CHECK (checksum ~ '^[0-9a-f]{64}$')
    )
"""

# Nobody knows with which file an earlier release applied these; what the same run applied is added to its row by
# the writer of the log (`adapters.migrations.log`).
_BEFORE = "INSERT INTO bazar.migration_log (revision, direction) VALUES ('0001', 'up'), ('0002', 'up'), ('0003', 'up')"

# Supabase's data API speaks as these roles; where they do not exist there is nothing to take away.
_REVOKE = """
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('REVOKE ALL ON bazar.migration_log FROM %I', name);
                EXECUTE format('REVOKE ALL ON SEQUENCE bazar.migration_log_id_seq FROM %I', name);
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute("CREATE INDEX migration_log_revision_id_idx ON bazar.migration_log (revision, id)")
    op.execute("ALTER TABLE bazar.migration_log ENABLE ROW LEVEL SECURITY")
    op.execute("REVOKE ALL ON bazar.migration_log FROM PUBLIC")
    op.execute(_REVOKE)
    op.execute(_BEFORE)


def downgrade() -> None:
    op.execute("DROP TABLE bazar.migration_log")
