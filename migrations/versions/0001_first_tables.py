"""First tables: plans, users, organizations, memberships, audit events, the deployment marker.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op

revision: str = "0001"
down_revision: str | tuple[str, ...] | None = None
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

# Literal SQL and literal values: what a revision did must not change when the code around it does.
_TABLES = (
    """
    CREATE TABLE bazar.plans (
        name text NOT NULL,
        title text NOT NULL,
        position smallint NOT NULL,
        CONSTRAINT plans_pkey PRIMARY KEY (name),
        CONSTRAINT plans_position_key UNIQUE (position)
    )
    """,
    """
    CREATE TABLE bazar.plan_permissions (
        plan text NOT NULL,
        permission text NOT NULL,
        CONSTRAINT plan_permissions_pkey PRIMARY KEY (plan, permission),
        CONSTRAINT plan_permissions_plan_fkey FOREIGN KEY (plan) REFERENCES bazar.plans (name),
        CONSTRAINT plan_permissions_permission_check CHECK (permission ~ '^[a-z]+:[a-z]+$')
    )
    """,
    """
    CREATE TABLE bazar.users (
        id uuid NOT NULL,
        email text NOT NULL,
        name text,
        plan text NOT NULL DEFAULT 'free',
        state text NOT NULL DEFAULT 'active',
        pending text,
        lease_owner uuid,
        lease_until timestamptz,
        origin text NOT NULL DEFAULT 'created',
        is_superuser boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT users_pkey PRIMARY KEY (id),
        CONSTRAINT users_plan_fkey FOREIGN KEY (plan) REFERENCES bazar.plans (name),
        CONSTRAINT users_email_check CHECK (email = lower(email)),
        CONSTRAINT users_state_check CHECK (state IN ('active', 'suspended')),
        CONSTRAINT users_pending_check
            CHECK (pending IN ('create', 'delete', 'suspend', 'restore', 'email', 'invite')),
        CONSTRAINT users_lease_check CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
        CONSTRAINT users_origin_check CHECK (origin IN ('created', 'adopted'))
    )
    """,
    "CREATE UNIQUE INDEX users_email_key ON bazar.users (lower(email))",
    "CREATE INDEX users_created_at_id_idx ON bazar.users (created_at, id)",
    "CREATE INDEX users_email_id_idx ON bazar.users (email, id)",
    "CREATE INDEX users_plan_idx ON bazar.users (plan)",
    "CREATE INDEX users_superusers_idx ON bazar.users (id) WHERE is_superuser",
    "CREATE INDEX users_pending_idx ON bazar.users (lease_until) WHERE pending IS NOT NULL",
    """
    CREATE TABLE bazar.organizations (
        id uuid NOT NULL,
        slug text NOT NULL,
        name text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT organizations_pkey PRIMARY KEY (id),
        CONSTRAINT organizations_slug_key UNIQUE (slug),
        CONSTRAINT organizations_slug_check CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
    )
    """,
    "CREATE INDEX organizations_created_at_id_idx ON bazar.organizations (created_at, id)",
    """
    CREATE TABLE bazar.memberships (
        organization_id uuid NOT NULL,
        user_id uuid NOT NULL,
        role text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT memberships_pkey PRIMARY KEY (organization_id, user_id),
        CONSTRAINT memberships_organization_id_fkey
            FOREIGN KEY (organization_id) REFERENCES bazar.organizations (id) ON DELETE CASCADE,
        CONSTRAINT memberships_user_id_fkey
            FOREIGN KEY (user_id) REFERENCES bazar.users (id) ON DELETE CASCADE,
        CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'member'))
    )
    """,
    "CREATE INDEX memberships_user_id_idx ON bazar.memberships (user_id)",
    # No foreign key: an event outlives whom and what it tells of.
    """
    CREATE TABLE bazar.audit_events (
        id uuid NOT NULL,
        seq bigint GENERATED ALWAYS AS IDENTITY,
        occurred_at timestamptz NOT NULL DEFAULT now(),
        operator_id uuid,
        operator_email text NOT NULL,
        use_case text NOT NULL,
        outcome text NOT NULL,
        target_type text NOT NULL,
        target_id text,
        organization_id uuid,
        before jsonb,
        after jsonb,
        reason text,
        request_id text NOT NULL,
        CONSTRAINT audit_events_pkey PRIMARY KEY (id),
        CONSTRAINT audit_events_seq_key UNIQUE (seq),
        CONSTRAINT audit_events_outcome_check CHECK (outcome IN ('done', 'denied', 'undone'))
    )
    """,
    "CREATE INDEX audit_events_occurred_at_idx ON bazar.audit_events (occurred_at)",
    "CREATE INDEX audit_events_operator_id_idx ON bazar.audit_events (operator_id)",
    "CREATE INDEX audit_events_target_id_idx ON bazar.audit_events (target_id)",
    "CREATE INDEX audit_events_organization_id_idx ON bazar.audit_events (organization_id)",
    """
    CREATE TABLE bazar.deployment (
        singleton boolean NOT NULL DEFAULT true,
        id uuid NOT NULL,
        environment text NOT NULL,
        protected boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT deployment_pkey PRIMARY KEY (singleton),
        CONSTRAINT deployment_singleton_check CHECK (singleton)
    )
    """,
)

_PLANS = """
    INSERT INTO bazar.plans (name, title, position)
    VALUES ('free', 'Free', 1), ('plus', 'Plus', 2), ('premium', 'Premium', 3)
"""
_PERMISSIONS = """
    INSERT INTO bazar.plan_permissions (plan, permission) VALUES
    ('free', 'users:read'), ('free', 'files:read'), ('free', 'orgs:read'), ('free', 'members:read'),
    ('free', 'plans:read'),
    ('plus', 'users:read'), ('plus', 'files:read'), ('plus', 'orgs:read'), ('plus', 'members:read'),
    ('plus', 'plans:read'), ('plus', 'files:execute'),
    ('premium', 'users:read'), ('premium', 'users:create'), ('premium', 'users:update'),
    ('premium', 'users:delete'),
    ('premium', 'files:read'), ('premium', 'files:execute'), ('premium', 'files:create'),
    ('premium', 'files:update'), ('premium', 'files:delete'),
    ('premium', 'orgs:read'), ('premium', 'orgs:create'), ('premium', 'orgs:update'),
    ('premium', 'orgs:delete'),
    ('premium', 'members:read'), ('premium', 'members:manage'),
    ('premium', 'plans:read'), ('premium', 'plans:assign'), ('premium', 'plans:manage'),
    ('premium', 'db:read'), ('premium', 'db:migrate'), ('premium', 'db:reset'),
    ('premium', 'audit:read')
"""

# The settings are the runner's, for the session (`adapters.migrations.runner`); without it, as under plain
# Alembic, a new database counts as production and is protected.
_MARKER = """
    INSERT INTO bazar.deployment (id, environment, protected) VALUES (
        gen_random_uuid(),
        coalesce(nullif(current_setting('bazar.environment', true), ''), 'production'),
        coalesce(nullif(current_setting('bazar.protected', true), ''), 'true')::boolean
    )
"""

# The gate reads operators through this view at every revision: columns are never renamed or dropped.
_OPERATORS = """
    CREATE VIEW bazar.operators AS
    SELECT u.id, u.email, u.name, u.plan, u.state, u.pending, u.is_superuser,
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                         'organization_id', o.id, 'slug', o.slug, 'role', m.role) ORDER BY o.slug)
                     FROM bazar.memberships m JOIN bazar.organizations o ON o.id = m.organization_id
                     WHERE m.user_id = u.id), '[]'::jsonb) AS memberships,
           (SELECT jsonb_object_agg(p.name, coalesce(
                (SELECT jsonb_agg(x.permission ORDER BY x.permission)
                 FROM bazar.plan_permissions x WHERE x.plan = p.name), '[]'::jsonb))
            FROM bazar.plans p) AS plans
    FROM bazar.users u
"""

# A view runs as its owner unless told otherwise, which Postgres 15 can be.
_INVOKER = """
    DO $$ BEGIN
        IF current_setting('server_version_num')::int >= 150000 THEN
            EXECUTE 'ALTER VIEW bazar.operators SET (security_invoker = true)';
        END IF;
    END $$
"""

_CLOSED = ("plans", "plan_permissions", "users", "organizations", "memberships", "audit_events", "deployment")

# Supabase's data API speaks as these roles; where they do not exist there is nothing to take away.
_REVOKE = """
    DO $$ DECLARE name text; BEGIN
        FOREACH name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA bazar FROM %I', name);
                EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA bazar FROM %I', name);
                EXECUTE format('REVOKE ALL ON SCHEMA bazar FROM %I', name);
            END IF;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
    op.execute(_PLANS)
    op.execute(_PERMISSIONS)
    op.execute(_MARKER)
    op.execute(_OPERATORS)
    op.execute(_INVOKER)
    for table in _CLOSED:
        op.execute(f"ALTER TABLE bazar.{table} ENABLE ROW LEVEL SECURITY")
    op.execute("REVOKE ALL ON SCHEMA bazar FROM PUBLIC")
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA bazar FROM PUBLIC")
    op.execute(_REVOKE)


def downgrade() -> None:
    op.execute("DROP VIEW bazar.operators")
    for table in ("deployment", "audit_events", "memberships", "organizations", "users"):
        op.execute(f"DROP TABLE bazar.{table}")
    op.execute("DROP TABLE bazar.plan_permissions")
    op.execute("DROP TABLE bazar.plans")
