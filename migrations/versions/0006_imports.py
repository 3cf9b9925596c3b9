"""Imports: the runs of `bazar users import`, and a row for each row of their files.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision: str = "0006"
down_revision: str | tuple[str, ...] | None = "0005"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

downgrade_loses: tuple[str, ...] = ("bazar.import_runs", "bazar.import_rows")

_TABLES = (
    """
    CREATE TABLE bazar.import_runs (
        id uuid NOT NULL,
        content_hash bytea NOT NULL,
        columns text[] NOT NULL,
        via text NOT NULL,
        on_conflict text NOT NULL,
        operator_id uuid NOT NULL,
        operator_email text NOT NULL,
        request_id text NOT NULL,
        rows bigint NOT NULL,
        started_at timestamptz NOT NULL DEFAULT now(),
        staged_at timestamptz,
        finished_at timestamptz,
        CONSTRAINT import_runs_pkey PRIMARY KEY (id),
        CONSTRAINT import_runs_content_hash_check CHECK (length(content_hash) = 32),
        CONSTRAINT import_runs_via_check CHECK (via IN ('api', 'database')),
        CONSTRAINT import_runs_on_conflict_check CHECK (on_conflict IN ('skip', 'update', 'fail'))
    )
    """,
    # No foreign key to users or organizations: a row outlives them.
    """
    CREATE TABLE bazar.import_rows (
        run_id uuid NOT NULL,
        line bigint NOT NULL,
        email text NOT NULL,
        user_id uuid NOT NULL,
        name text,
        plan text,
        organizations jsonb,
        user_metadata jsonb,
        app_metadata jsonb,
        password_hash text,
        awaits_hash boolean NOT NULL DEFAULT false,
        action text NOT NULL,
        status text NOT NULL DEFAULT 'open',
        code text,
        message text,
        claim uuid,
        claimed_until timestamptz,
        user_updated_at timestamptz,
        CONSTRAINT import_rows_pkey PRIMARY KEY (run_id, line),
        CONSTRAINT import_rows_run_id_fkey
            FOREIGN KEY (run_id) REFERENCES bazar.import_runs (id) ON DELETE CASCADE,
        CONSTRAINT import_rows_hash_check CHECK (NOT awaits_hash OR password_hash IS NULL),
        CONSTRAINT import_rows_action_check CHECK (action IN ('create', 'update', 'none')),
        CONSTRAINT import_rows_status_check
            CHECK (status IN ('open', 'created', 'updated', 'unchanged', 'skipped', 'failed')),
        CONSTRAINT import_rows_claim_check CHECK ((claim IS NULL) = (claimed_until IS NULL))
    )
    """,
)

_INDEXES = (
    # One open run for a file: the same command again continues it.
    "CREATE UNIQUE INDEX import_runs_open_key ON bazar.import_runs (content_hash) WHERE finished_at IS NULL",
    "CREATE INDEX import_runs_started_at_id_idx ON bazar.import_runs (started_at, id)",
    "CREATE INDEX import_rows_open_idx ON bazar.import_rows (run_id, line) WHERE status = 'open'",
)

_CLOSED = ("import_runs", "import_rows")

# Supabase's data API speaks as these roles; where they do not exist there is nothing to take away.
_REVOKE = """
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('REVOKE ALL ON bazar.import_runs, bazar.import_rows FROM %I', name);
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    for statement in (*_TABLES, *_INDEXES):
        op.execute(statement)
    for table in _CLOSED:
        op.execute(f"ALTER TABLE bazar.{table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON bazar.{table} FROM PUBLIC")
    op.execute(_REVOKE)


def downgrade() -> None:
    op.execute("DROP TABLE bazar.import_rows")
    op.execute("DROP TABLE bazar.import_runs")
