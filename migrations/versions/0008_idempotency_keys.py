"""Idempotency keys: requests to the API that are done once, and their answers for 24 hours.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op

revision: str = "0008"
down_revision: str | tuple[str, ...] | None = "0007"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

downgrade_loses: tuple[str, ...] = ("bazar.idempotency_keys",)

# No foreign key to users: a row outlives its operator. `answer` holds no secret; it is text, because jsonb keeps no
# order of fields.
_TABLE = """
    CREATE TABLE bazar.idempotency_keys (
        operator_id uuid NOT NULL,
        key text NOT NULL,
        fingerprint bytea NOT NULL,
        use_case text NOT NULL,
        request_ids text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        running_until timestamptz NOT NULL,
        answer text,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (operator_id, key),
        CONSTRAINT idempotency_keys_key_check CHECK (length(key) BETWEEN 1 AND 255),
        CONSTRAINT idempotency_keys_fingerprint_check CHECK (length(fingerprint) = 32)
    )
"""
_INDEX = "CREATE INDEX idempotency_keys_created_at_idx ON bazar.idempotency_keys (created_at)"

# Supabase's data API speaks as these roles; where they do not exist there is nothing to take away.
_REVOKE = """
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('REVOKE ALL ON bazar.idempotency_keys FROM %I', name);
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute(_INDEX)
    op.execute("ALTER TABLE bazar.idempotency_keys ENABLE ROW LEVEL SECURITY")
    op.execute("REVOKE ALL ON bazar.idempotency_keys FROM PUBLIC")
    op.execute(_REVOKE)


def downgrade() -> None:
    op.execute("DROP TABLE bazar.idempotency_keys")
