"""SQL on the users of a chunk that a command holds by its lease, in the order of locks of `operator_rights`.

Parameters of the SQL: `ids` of the users, `claim`, the owner of the lease, and `seconds`, its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import LiteralString

LEASE_END = "clock_timestamp() + make_interval(secs => %(seconds)s)"


def held(pending: Literal["create", "delete"]) -> LiteralString:
    """Return the common table expression `held`: the ids of held users with this pending change, locked by id."""
    return f"""
    held AS (
        SELECT id FROM bazar.users
        WHERE id = ANY(%(ids)s::uuid[]) AND pending = '{pending}' AND lease_owner = %(claim)s ORDER BY id FOR UPDATE
    )
"""  # noqa: S608 - one of two words


def delete_held(pending: Literal["create", "delete"]) -> LiteralString:
    """Return the statement that deletes held users, whose memberships it locks first; it returns their ids."""
    return f"""
    WITH {held(pending)},
    memberships AS (
        SELECT 1 FROM bazar.memberships WHERE user_id IN (SELECT id FROM held)
        ORDER BY organization_id, user_id FOR UPDATE
    )
    DELETE FROM bazar.users WHERE id IN (SELECT id FROM held) AND (SELECT count(*) FROM memberships) >= 0 RETURNING id
"""  # noqa: S608 - as above
