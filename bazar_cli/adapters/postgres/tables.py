"""The tables as SQLAlchemy describes them: what revisions are compared with, at autogenerate and in tests."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "bazar"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    },
)


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


plans = Table(
    "plans",
    metadata,
    Column("name", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("position", SmallInteger, nullable=False),
    UniqueConstraint("position"),
)

plan_permissions = Table(
    "plan_permissions",
    metadata,
    Column("plan", Text, ForeignKey(plans.c.name), primary_key=True),
    Column("permission", Text, primary_key=True),
    CheckConstraint("permission ~ '^[a-z]+:[a-z]+$'", name="permission"),
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("name", Text),
    Column("plan", Text, ForeignKey(plans.c.name), nullable=False, server_default="free"),
    Column("state", Text, nullable=False, server_default="active"),
    Column("pending", Text),
    Column("lease_owner", Uuid),
    Column("lease_until", DateTime(timezone=True)),
    Column("origin", Text, nullable=False, server_default="created"),
    Column("is_superuser", Boolean, nullable=False, server_default=text("false")),
    _moment("created_at"),
    _moment("updated_at"),
    CheckConstraint("email = lower(email)", name="email"),
    CheckConstraint("state IN ('active', 'suspended')", name="state"),
    CheckConstraint("pending IN ('create', 'delete', 'suspend', 'restore', 'email', 'invite')", name="pending"),
    CheckConstraint("(lease_owner IS NULL) = (lease_until IS NULL)", name="lease"),
    CheckConstraint("origin IN ('created', 'adopted')", name="origin"),
)
Index("users_email_key", func.lower(users.c.email), unique=True)
Index("users_created_at_id_idx", users.c.created_at, users.c.id)
Index("users_email_id_idx", users.c.email, users.c.id)
Index("users_plan_state_idx", users.c.plan, users.c.state)
Index("users_superusers_idx", users.c.id, postgresql_where=users.c.is_superuser)
Index("users_pending_idx", users.c.lease_until, postgresql_where=users.c.pending.isnot(None))

organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    UniqueConstraint("slug"),
    CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug"),
)
Index("organizations_created_at_id_idx", organizations.c.created_at, organizations.c.id)

memberships = Table(
    "memberships",
    metadata,
    Column("organization_id", Uuid, ForeignKey(organizations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("user_id", Uuid, ForeignKey(users.c.id, ondelete="CASCADE"), primary_key=True),
    Column("role", Text, nullable=False),
    _moment("created_at"),
    CheckConstraint("role IN ('owner', 'admin', 'member')", name="role"),
)
Index("memberships_user_id_idx", memberships.c.user_id)
Index(
    "memberships_organization_id_created_at_user_id_idx",
    memberships.c.organization_id,
    memberships.c.created_at,
    memberships.c.user_id,
)
Index(
    "memberships_leaders_idx",
    memberships.c.organization_id,
    memberships.c.created_at,
    memberships.c.user_id,
    postgresql_where=memberships.c.role != "member",
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    _moment("occurred_at"),
    Column("operator_id", Uuid),
    Column("operator_email", Text, nullable=False),
    Column("use_case", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("target_type", Text, nullable=False),
    Column("target_id", Text),
    Column("organization_id", Uuid),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("reason", Text),
    Column("request_id", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("seq"),
    CheckConstraint("outcome IN ('done', 'denied', 'undone')", name="outcome"),
)
_in_order = (audit_events.c.occurred_at, audit_events.c.seq)
Index("audit_events_occurred_at_seq_idx", *_in_order)
Index("audit_events_operator_id_occurred_at_seq_idx", audit_events.c.operator_id, *_in_order)
Index("audit_events_operator_email_occurred_at_seq_idx", audit_events.c.operator_email, *_in_order)
Index("audit_events_target_id_occurred_at_seq_idx", audit_events.c.target_id, *_in_order)
Index("audit_events_organization_id_occurred_at_seq_idx", audit_events.c.organization_id, *_in_order)
Index("audit_events_use_case_occurred_at_seq_idx", audit_events.c.use_case, *_in_order)
Index("audit_events_outcome_occurred_at_seq_idx", audit_events.c.outcome, *_in_order)
Index("audit_events_request_id_idx", audit_events.c.request_id)
for _side in ("before", "after"):
    _name = f"coalesce({_side} ->> 'email', {_side} ->> 'slug')"
    Index(
        f"audit_events_name_{_side}_idx",
        text(_name),
        postgresql_where=text(f"{_name} IS NOT NULL"),
        _table=audit_events,
    )
Index(
    "audit_events_deleted_from_idx",
    text("jsonb_path_query_array(before, '$.organizations[*].id')"),
    postgresql_using="gin",
    postgresql_with={"fastupdate": "off"},
    postgresql_where=text("use_case = 'users.delete' AND outcome = 'done' AND organization_id IS NULL"),
    _table=audit_events,
)

audit_unsealed = Table(
    "audit_unsealed",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid, nullable=False),
)

audit_seals = Table(
    "audit_seals",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("previous", LargeBinary, nullable=False),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    Column("events", Integer, nullable=False),
    Column("entries", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("hash"),
    CheckConstraint("events > 0 AND length(entries) = events * 48", name="entries"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Uuid, nullable=False),
    Column("environment", Text, nullable=False),
    Column("protected", Boolean, nullable=False),
    _moment("created_at"),
    CheckConstraint("singleton", name="singleton"),
)

migration_log = Table(
    "migration_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("revision", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("checksum", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("duration_ms", BigInteger),
    Column("operator_email", Text),
    Column("bazar_version", Text),
    Column("request_id", Text),
    CheckConstraint("direction IN ('up', 'down')", name="direction"),
    CheckConstraint("checksum ~ '^[0-9a-f]{64}$'", name="checksum"),
)
Index("migration_log_revision_id_idx", migration_log.c.revision, migration_log.c.id)

import_runs = Table(
    "import_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("content_hash", LargeBinary, nullable=False),
    Column("columns", ARRAY(Text), nullable=False),
    Column("via", Text, nullable=False),
    Column("on_conflict", Text, nullable=False),
    Column("operator_id", Uuid, nullable=False),
    Column("operator_email", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    _moment("started_at"),
    Column("staged_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("undone_at", DateTime(timezone=True)),
    CheckConstraint("length(content_hash) = 32", name="content_hash"),
    CheckConstraint("via IN ('api', 'database')", name="via"),
    CheckConstraint("on_conflict IN ('skip', 'update', 'fail')", name="on_conflict"),
)
Index(
    "import_runs_open_key",
    import_runs.c.content_hash,
    unique=True,
    postgresql_where=import_runs.c.finished_at.is_(None),
)
Index("import_runs_started_at_id_idx", import_runs.c.started_at, import_runs.c.id)

import_rows = Table(
    "import_rows",
    metadata,
    Column("run_id", Uuid, ForeignKey(import_runs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("email", Text, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text),
    Column("plan", Text),
    Column("organizations", JSONB),
    Column("user_metadata", JSONB),
    Column("app_metadata", JSONB),
    Column("password_hash", Text),
    Column("awaits_hash", Boolean, nullable=False, server_default=text("false")),
    Column("action", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    Column("code", Text),
    Column("message", Text),
    Column("claim", Uuid),
    Column("claimed_until", DateTime(timezone=True)),
    Column("user_updated_at", DateTime(timezone=True)),
    Column("chosen_id", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("NOT awaits_hash OR password_hash IS NULL", name="hash"),
    CheckConstraint("action IN ('create', 'update', 'none')", name="action"),
    CheckConstraint(
        "status IN ('open', 'created', 'updated', 'unchanged', 'skipped', 'failed', 'undone')", name="status"
    ),
    CheckConstraint("(claim IS NULL) = (claimed_until IS NULL)", name="claim"),
)
Index(
    "import_rows_open_idx",
    import_rows.c.run_id,
    import_rows.c.line,
    postgresql_where=import_rows.c.status == "open",
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("operator_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("use_case", Text, nullable=False),
    Column("request_ids", ARRAY(Text), nullable=False),
    _moment("created_at"),
    Column("running_until", DateTime(timezone=True), nullable=False),
    Column("answer", Text),
    CheckConstraint("length(key) BETWEEN 1 AND 255", name="key"),
    CheckConstraint("length(fingerprint) = 32", name="fingerprint"),
)
Index("idempotency_keys_created_at_idx", idempotency_keys.c.created_at)
