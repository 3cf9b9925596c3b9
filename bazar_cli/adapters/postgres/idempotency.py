"""Idempotency keys of requests to the API: which are done, and with which answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_one, fetch_value

if TYPE_CHECKING:
    from uuid import UUID

    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.domain.authz.spec import Grant

_FIND = """
    SELECT fingerprint, request_ids, running_until > clock_timestamp() AS running, answer FROM bazar.idempotency_keys
    WHERE operator_id = %s AND key = %s AND created_at > now() - interval '24 hours'
"""
# A request that ended without an answer may be begun again; another one that is begun at this moment wins.
_CLAIM = """
    INSERT INTO bazar.idempotency_keys AS k (operator_id, key, fingerprint, use_case, request_ids, running_until)
    VALUES (%(operator)s, %(key)s, %(fingerprint)s, %(use_case)s, ARRAY[%(request_id)s],
            clock_timestamp() + interval '1 minute')
    ON CONFLICT (operator_id, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, use_case = excluded.use_case, created_at = excluded.created_at,
        running_until = excluded.running_until, answer = NULL,
        request_ids = CASE WHEN k.created_at > now() - interval '24 hours' THEN k.request_ids ELSE '{}' END
            || excluded.request_ids
    WHERE k.created_at <= now() - interval '24 hours'
       OR (k.answer IS NULL AND k.fingerprint = excluded.fingerprint AND k.running_until <= clock_timestamp())
    RETURNING true
"""
_DROP_OLD = """
    DELETE FROM bazar.idempotency_keys WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM bazar.idempotency_keys WHERE created_at <= now() - interval '24 hours'
        ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED
    ))
"""
_FINISH = "UPDATE bazar.idempotency_keys SET answer = %s WHERE operator_id = %s AND key = %s AND %s = ANY(request_ids)"
_RELEASE = """
    UPDATE bazar.idempotency_keys SET running_until = clock_timestamp()
    WHERE operator_id = %s AND key = %s AND answer IS NULL AND request_ids[cardinality(request_ids)] = %s
"""
_TARGET = """
    SELECT target_id FROM bazar.audit_events
    WHERE request_id = ANY(%s) AND operator_id = %s AND use_case = %s AND outcome = 'done' ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True)
class KeptRequest:
    """A request of the last 24 hours with a key."""

    fingerprint: bytes
    request_ids: list[str]
    """The requests that did it, the first one first."""
    running: bool
    """It may be in hand: without an answer, and begun less than a minute ago."""
    answer: str | None


def find(connection: Connection, operator_id: UUID, key: str) -> KeptRequest | None:
    """Return the request that an operator made with a key."""
    return fetch_one(connection, KeptRequest, _FIND, (operator_id, key))


def claim(connection: Connection, grant: Grant, key: str, fingerprint: bytes) -> bool:
    """Write that a request with a key is in hand, in the transaction of its intent; say whether no other one is."""
    connection.execute(_DROP_OLD)
    values = {
        "operator": grant.operator.id,
        "key": key,
        "fingerprint": fingerprint,
        "use_case": grant.spec.name,
        "request_id": grant.request_id,
    }
    return fetch_value(connection, _CLAIM, values) is not None


def finish(connection: Connection, grant: Grant, key: str, answer: str) -> None:
    """Keep the answer of a request."""
    connection.execute(_FINISH, (answer, grant.operator.id, key, grant.request_id))


def release(connection: Connection, grant: Grant, key: str) -> None:
    """Write that a request ended without an answer."""
    connection.execute(_RELEASE, (grant.operator.id, key, grant.request_id))


def target_of(connection: Connection, grant: Grant, request_ids: list[str]) -> str | None:
    """Return the id of what earlier requests of this use case created or changed."""
    return fetch_value(connection, _TARGET, (request_ids, grant.operator.id, grant.spec.name))
