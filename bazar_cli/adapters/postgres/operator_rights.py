"""The rights of a Grant, locked and compared inside the transaction that writes; and the order of all locks.

Commands that run at the same moment wait for each other, and none of them in a circle, because each takes its locks
in this order:

1. users by id: those that the request names, to write them, and the operator, to read them (`hold_operator`, the first
   statement of the transaction); with them what the operator's plan allows
2. the advisory lock of superusers, where one is taken out of service (`superusers.count_other_active`)
3. organizations by id: to keep them, to change who belongs to them, or to change them (`organizations.Lock`)
4. plans, by position
5. memberships by organization and user, each after its user or organization: the operator's, to read those that the
   row rules ask for (`role_keeper`), and those that are written

What a foreign key keeps of a user or organization is locked as strongly by then; the event of a change comes last.
Where a circle remains, as with two operators who revoke the permission that both need from Plus, `leases.when_free`
tries again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.rows import fetch_value, fetch_values
from bazar_cli.domain.authz.spec import Grant, Reach
from bazar_cli.domain.entities import Pending, Role
from bazar_cli.domain.errors import RightsChanged

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

# One statement, in which each part begins when the one before has its locks: a part with a lock is never inlined, and
# a count reads all of it. What the plan must still have is locked row by row: a count would be that of before a wait.
_HOLD_OPERATOR = """
    WITH before AS (
        SELECT id FROM bazar.users WHERE {named} AND id < %(operator)s ORDER BY id FOR UPDATE
    ),
    operator AS (
        SELECT plan, state, is_superuser, pending IS NOT DISTINCT FROM 'delete' AS deleting FROM bazar.users
        WHERE id = %(operator)s AND (SELECT count(*) FROM before) >= 0 FOR {strength}
    ),
    after AS (
        SELECT id FROM bazar.users WHERE {named} AND id > %(operator)s AND (SELECT count(*) FROM operator) >= 0
        ORDER BY id FOR UPDATE
    ),
    kept AS (
        SELECT permission FROM bazar.plan_permissions
        WHERE plan = %(plan)s AND permission = ANY(%(permissions)s) AND (SELECT count(*) FROM after) >= 0 FOR KEY SHARE
    )
    SELECT o.*, ARRAY(SELECT permission FROM kept) AS permissions FROM operator o
"""
_NAMED = "(id = ANY(%(ids)s::uuid[]) OR lower(email) = ANY(%(emails)s::text[]))"
_ROLE = "SELECT role FROM bazar.memberships WHERE organization_id = %s AND user_id = %s FOR SHARE"
_JOINED = """
    SELECT organization_id FROM bazar.memberships
    WHERE user_id = %(operator)s AND organization_id = ANY(%(organizations)s::uuid[])
"""


def hold_operator(connection: Connection, grant: Grant) -> None:
    """Lock the operator and the users that the request names, and compare the operator with the Grant.

    Compared is what every decision depends on: plan, state, the superuser flag and the needed permissions of the plan.
    Roles are compared when a row rule asks for one (`role_keeper`).
    Raises: RightsChanged.
    """
    operator = grant.operator
    ids, emails = _references(grant.named_users)
    oneself = operator.id in ids or operator.email in emails
    needed = {permission.value for permission in grant.permissions}
    expected = (operator.plan.value, operator.state.value, operator.is_superuser, operator.pending is Pending.DELETE)
    row = connection.execute(
        _HOLD_OPERATOR.format(named=_NAMED, strength="UPDATE" if oneself else "SHARE"),
        {
            "ids": ids,
            "emails": emails,
            "operator": operator.id,
            "plan": operator.plan.value,
            "permissions": sorted(needed),
        },
    ).fetchone()
    if row is None or row[:4] != expected or not needed <= set(row[4]):
        raise RightsChanged


def role_keeper(connection: Connection, grant: Grant) -> Callable[[uuid.UUID, Role | None], None]:
    """Return what locks the operator's role in an organization and compares it with the one that the gate read.

    A command that deletes the organization or changes the role then waits. Raises, when called: RightsChanged.
    """

    def keep(organization_id: uuid.UUID, role: Role | None) -> None:
        if fetch_value(connection, _ROLE, (organization_id, grant.operator.id)) != (role and role.value):
            raise RightsChanged

    return keep


def compare_reach(connection: Connection, reach: Reach, organizations: Collection[uuid.UUID]) -> None:
    """Make sure, before an answer that something is out of reach, that the operator's memberships did not change.

    Parameters: `organizations` are those that the answer depends on; memberships in others may change.
    Raises: RightsChanged.
    """
    values = {"operator": reach.user_id, "organizations": list(organizations)}
    joined = frozenset[uuid.UUID](fetch_values(connection, _JOINED, values))
    if joined != reach.organization_ids.intersection(organizations):
        raise RightsChanged


def _references(names: Iterable[str]) -> tuple[list[uuid.UUID], list[str]]:
    """Split names of users into ids and addresses; Postgres may refuse anything else as text."""
    ids: list[uuid.UUID] = []
    emails: list[str] = []
    for name in sorted(names):
        try:
            ids.append(uuid.UUID(name))
        except ValueError:
            if name.isascii() and "\0" not in name:
                emails.append(name)
    return ids, emails
