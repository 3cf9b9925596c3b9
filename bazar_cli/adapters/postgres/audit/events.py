"""The audit log: one event per change, written in the change's own transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection
    from bazar_cli.domain.authz.spec import Grant

_INSERT = """
    INSERT INTO bazar.audit_events
        (id, operator_id, operator_email, use_case, outcome, target_type, target_id, organization_id,
         before, after, reason, request_id)
    VALUES (%(id)s, %(operator_id)s, %(operator_email)s, %(use_case)s, %(outcome)s, %(target_type)s, %(target_id)s,
            %(organization_id)s, %(before)s, %(after)s, %(reason)s, %(request_id)s)
"""
_LATEST_CHANGE = """
    SELECT before ->> 'email' AS before, after ->> 'email' AS after FROM bazar.audit_events
    WHERE target_type = 'user' AND target_id = %(id)s AND use_case = 'users.update' AND outcome = 'done'
      AND after ->> 'email' IS NOT NULL
    ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True)
class Change:
    """The change of one target by a use case. Neither side may hold a secret or a hash.

    Organizations are named in two places only, of which readers see their own (`domain.audit.as_seen_by`):
    `organization` is the slug of the one that the event belongs to, `organizations` are others, each with its id. The
    target's own name is in `email` or `slug`, so that a deleted target can be found.
    """

    target_type: Literal["user", "organization", "database", "plan", "import"]
    target_id: uuid.UUID | str
    organization_id: uuid.UUID | None = None
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    reason: str | None = None
    outcome: Literal["done", "undone"] = field(default="done")


def address_before(connection: Connection, user_id: uuid.UUID, email: str) -> str | None:
    """Return the address from which a user came to `email` by the latest change of it; None when by none."""
    before, after = connection.execute(_LATEST_CHANGE, {"id": str(user_id)}).fetchone() or (None, None)
    return before if after == email else None


def record(connection: Connection, grant: Grant, change: Change) -> None:
    """Append the event of `change` by the operator of `grant`, in the transaction of `connection`."""
    connection.execute(_INSERT, _values(grant, change))


def record_all(connection: Connection, grant: Grant, changes: Sequence[Change]) -> None:
    """Append the events of many changes, as `record` does for one."""
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT, [_values(grant, change) for change in changes])


def _values(grant: Grant, change: Change) -> dict[str, object]:
    return {
        "id": uuid.uuid4(),
        "operator_id": grant.operator.id,
        "operator_email": grant.operator.email,
        "use_case": grant.spec.name,
        "outcome": change.outcome,
        "target_type": change.target_type,
        "target_id": str(change.target_id),
        "organization_id": change.organization_id,
        "before": None if change.before is None else Jsonb(change.before),
        "after": None if change.after is None else Jsonb(change.after),
        "reason": change.reason,
        "request_id": grant.request_id,
    }
