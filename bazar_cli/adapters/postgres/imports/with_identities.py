"""New users with their identities in `auth.*`, in one transaction for each chunk.

The rows are those that Supabase Auth's admin API writes (v2.196). Triggers on `auth.users` fire; hooks and webhooks of
the Auth server do not run. Requires what `auth_schema` proves.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.types.json import Jsonb

from bazar_cli.adapters.postgres.diagnostics import diagnostics_of
from bazar_cli.adapters.postgres.imports.creations import ERASED
from bazar_cli.adapters.postgres.rows import fetch_all
from bazar_cli.domain.imports.imports import Status
from bazar_cli.domain.users.identities import CREATED, STAMP

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.adapters.postgres.imports.creations import Chunk

# 48 random bytes are 64 characters of base64, which is the alphabet of bcrypt but for the sign +.
_RANDOM_HASH = """
    '$2a$10$' || left(translate(encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
                                       || uuid_send(gen_random_uuid()), 'base64'), '+', '.'), 53)
"""
# The API merges metadata key by key, and null deletes a key.
_APP_METADATA = """
    CASE WHEN r.app_metadata IS NULL THEN '{"provider": "email", "providers": ["email"]}'::jsonb
         ELSE (SELECT jsonb_object_agg(m.key, m.value)
               FROM jsonb_each('{"provider": "email", "providers": ["email"]}'::jsonb || r.app_metadata) AS m
               WHERE m.value <> 'null') END
"""
_ZERO = "00000000-0000-0000-0000-000000000000"
# A part of the statement gets the rows of the part before it. Foreign keys and triggers are checked at its end.
_CREATE = f"""
    WITH chosen AS (
        SELECT r.* FROM bazar.import_rows r WHERE r.run_id = %(run)s AND r.line = ANY(%(lines)s::bigint[])
    ),
    new_user AS (
        INSERT INTO bazar.users (id, email, name, plan, state, origin, is_superuser, created_at, updated_at)
        SELECT r.user_id, r.email, nullif(r.name, ''), coalesce(r.plan, 'free'), 'active', 'created', false, now(),
               now()
        FROM chosen r ORDER BY r.line
        ON CONFLICT DO NOTHING RETURNING id, updated_at
    ),
    new_identity AS (
        INSERT INTO auth.users
            (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
             recovery_token, email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data, created_at,
             updated_at)
        SELECT '{_ZERO}', r.user_id, 'authenticated', 'authenticated', r.email,
               coalesce(r.password_hash, {_RANDOM_HASH}), now(), '', '', '', '',
               {_APP_METADATA} || %(stamp)s::jsonb,
               coalesce(r.user_metadata, '{{}}') || '{{"email_verified": true}}', now(), now()
        FROM chosen r JOIN new_user n ON n.id = r.user_id ORDER BY r.line
        ON CONFLICT DO NOTHING RETURNING id, email
    ),
    new_login AS (
        INSERT INTO auth.identities
            (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
        SELECT CAST(i.id AS text), i.id,
               jsonb_build_object('sub', i.id, 'email', i.email, 'email_verified', false, 'phone_verified', false),
               'email', now(), now(), now()
        FROM new_identity i
        RETURNING user_id
    ),
    ended AS (
        UPDATE bazar.import_rows r
        SET status = '{Status.CREATED.value}', code = NULL, message = NULL, claim = NULL, claimed_until = NULL,
            user_updated_at = n.updated_at, {ERASED}
        FROM new_login l JOIN new_user n ON n.id = l.user_id
        WHERE r.run_id = %(run)s AND r.line = ANY(%(lines)s::bigint[]) AND r.user_id = l.user_id
        RETURNING r.line
    )
    SELECT r.line, r.user_id, n.id IS NOT NULL AS inserted
    FROM chosen r LEFT JOIN new_user n ON n.id = r.user_id LEFT JOIN ended e ON e.line = r.line
    WHERE e.line IS NULL
"""  # noqa: S608 - constants
_WITHOUT_IDENTITY = "DELETE FROM bazar.users WHERE id = ANY(%s::uuid[])"


class ChunkRejected(Exception):
    """The database refused a row of the chunk, and so all of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Prevented:
    line: int
    user_id: uuid.UUID
    inserted: bool
    """The user was inserted, so an identity prevented it."""


@contextmanager
def rejections() -> Generator[None]:
    """Raise ChunkRejected where a type, a constraint or a trigger of others forbids a row that the block writes."""
    try:
        yield
    except psycopg.Error as error:
        found = diagnostics_of(error)
        if not isinstance(error, psycopg.IntegrityError | psycopg.DataError) and not found.is_of_others:
            raise
        raise ChunkRejected(found.text) from error


def create(
    connection: Connection, chunk: Chunk, lines: Collection[int], deployment: uuid.UUID
) -> tuple[frozenset[int], frozenset[int]]:
    """Create users and identities, and end their rows.

    Returns the lines that another user prevented, and those that an identity at Supabase prevented; of neither is
    anything left.
    """
    stamp = Jsonb({STAMP: {"deployment": str(deployment), "origin": CREATED}})
    prevented = fetch_all(connection, _Prevented, _CREATE, chunk.values(lines, stamp=stamp))
    without = [row for row in prevented if row.inserted]
    if without:
        connection.execute(_WITHOUT_IDENTITY, ([row.user_id for row in without],))
    return frozenset(row.line for row in prevented if not row.inserted), frozenset(row.line for row in without)
