"""The proof that `auth.*` of this database may get identities by SQL: its schema is one that this version knows.

Known is the schema of Supabase Auth v2.196: the columns, constraints and unique indexes of `auth.users` and
`auth.identities`, and the last migration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_value, fetch_values

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

KNOWN_MIGRATIONS = ("20260625000000",)
"""The last migrations of the releases whose rows this version writes."""
_MOMENTS = (
    "email_confirmed_at invited_at confirmation_sent_at recovery_sent_at email_change_sent_at last_sign_in_at"
    " created_at updated_at phone_confirmed_at phone_change_sent_at banned_until reauthentication_sent_at deleted_at"
)
_TOKENS = "phone_change_token email_change_token_current reauthentication_token"
_TEXTS = "aud role email encrypted_password confirmation_token recovery_token email_change_token_new email_change"
_UNIQUE = "confirmation_token recovery_token email_change_token_new email_change_token_current reauthentication_token"
KNOWN = frozenset(
    {
        # Columns of auth.users
        "auth.users.id uuid NOT NULL",
        "auth.users.instance_id uuid",
        *(f"auth.users.{name} character varying(255)" for name in _TEXTS.split()),
        *(f"auth.users.{name} timestamp with time zone" for name in _MOMENTS.split()),
        *(f"auth.users.{name} character varying(255) DEFAULT ''::character varying" for name in _TOKENS.split()),
        "auth.users.raw_app_meta_data jsonb",
        "auth.users.raw_user_meta_data jsonb",
        "auth.users.is_super_admin boolean",
        "auth.users.phone text DEFAULT NULL::character varying",
        "auth.users.phone_change text DEFAULT ''::character varying",
        "auth.users.confirmed_at timestamp with time zone GENERATED LEAST(email_confirmed_at, phone_confirmed_at)",
        "auth.users.email_change_confirm_status smallint DEFAULT 0",
        "auth.users.is_sso_user boolean NOT NULL DEFAULT false",
        "auth.users.is_anonymous boolean NOT NULL DEFAULT false",
        # Columns of auth.identities
        "auth.identities.provider_id text NOT NULL",
        "auth.identities.user_id uuid NOT NULL",
        "auth.identities.identity_data jsonb NOT NULL",
        "auth.identities.provider text NOT NULL",
        "auth.identities.last_sign_in_at timestamp with time zone",
        "auth.identities.created_at timestamp with time zone",
        "auth.identities.updated_at timestamp with time zone",
        "auth.identities.email text GENERATED lower((identity_data ->> 'email'::text))",
        "auth.identities.id uuid NOT NULL DEFAULT gen_random_uuid()",
        # Constraints
        "auth.users PRIMARY KEY (id)",
        "auth.users UNIQUE (phone)",
        "auth.users CHECK (((email_change_confirm_status >= 0) AND (email_change_confirm_status <= 2)))",
        "auth.identities PRIMARY KEY (id)",
        "auth.identities UNIQUE (provider_id, provider)",
        "auth.identities FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE",
        # Unique indexes that belong to no constraint
        "auth.users (email) WHERE (is_sso_user = false)",
        *(f"auth.users ({name}) WHERE (({name})::text !~ '^[0-9 ]*$'::text)" for name in _UNIQUE.split()),
    }
)
_PARTS = """
    WITH tables AS (
        SELECT t.oid, t.name FROM (VALUES (to_regclass('auth.users')::oid, 'auth.users'),
                                          (to_regclass('auth.identities')::oid, 'auth.identities')) AS t (oid, name)
    )
    SELECT format('%s.%s %s%s%s', t.name, a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' NOT NULL' END,
                  CASE WHEN a.attgenerated <> '' THEN ' GENERATED ' WHEN a.atthasdef THEN ' DEFAULT ' END
                  || pg_get_expr(d.adbin, d.adrelid))
    FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('%s %s', t.name, pg_get_constraintdef(c.oid)) FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid
    WHERE c.contype IN ('p', 'u', 'f', 'c', 'x')
    UNION ALL
    SELECT format('%s %s', t.name, substring(pg_get_indexdef(i.indexrelid) FROM ' USING btree (.*)$'))
    FROM tables t JOIN pg_index i ON i.indrelid = t.oid
    WHERE i.indisunique
      AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = t.oid)
"""
_MAY_READ_MIGRATIONS = """
    SELECT coalesce(has_table_privilege(to_regclass('auth.schema_migrations'), 'SELECT')
                    AND NOT row_security_active(to_regclass('auth.schema_migrations')), false)
"""
_LAST_MIGRATION = "SELECT max(version) FROM auth.schema_migrations"
_MAY_WRITE = """
    SELECT has_table_privilege('auth.users', 'INSERT')
           AND has_table_privilege('auth.identities', 'INSERT') AND NOT row_security_active('auth.identities')
"""
# Foreign keys delete what belongs to an identity.
_MAY_DELETE = "SELECT has_table_privilege('auth.users', 'DELETE')"


def may_delete(connection: Connection) -> bool:
    """Say whether identities may be deleted by SQL. Requires that `identities.readable` returned True."""
    return last_migration(connection) in KNOWN_MIGRATIONS and fetch_value(connection, _MAY_DELETE)


def may_write(connection: Connection) -> bool:
    """Say whether the role may insert identities. Requires that `identities.readable` returned True."""
    there = fetch_value(connection, "SELECT to_regclass('auth.identities') IS NOT NULL")
    return there and fetch_value(connection, _MAY_WRITE)


def differences(connection: Connection) -> tuple[str, ...]:
    """Return in words how `auth.*` differs from the schemas that this version knows; none where it is known."""
    found = frozenset(fetch_values(connection, _PARTS))
    parts = [f"it has {part}" for part in sorted(found - KNOWN)] + [
        f"it lacks {part}" for part in sorted(KNOWN - found)
    ]
    migration = last_migration(connection)
    if migration not in KNOWN_MIGRATIONS:
        what = f"its last migration is {migration}" if migration else "auth.schema_migrations cannot be read"
        parts.insert(0, f"{what}, and this version knows {' and '.join(KNOWN_MIGRATIONS)}")
    return tuple(parts)


def last_migration(connection: Connection) -> str | None:
    """Return the version of the last migration of Supabase Auth; None where it cannot be read."""
    return fetch_value(connection, _LAST_MIGRATION) if fetch_value(connection, _MAY_READ_MIGRATIONS) else None
