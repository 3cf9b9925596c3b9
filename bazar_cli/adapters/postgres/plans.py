"""The plan table in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from bazar_cli.adapters.postgres.rows import fetch_all, fetch_values
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import PlanDetails, PlanUsage

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

# One pass over the users. Those that the operator can see are found by their memberships, each once.
_COUNTED = """
    SELECT p.name, p.title, coalesce(c.users, 0) AS users, coalesce(c.suspended, 0) AS suspended
    FROM bazar.plans p
    LEFT JOIN (SELECT u.plan, count(*) AS users, count(*) FILTER (WHERE u.state = 'suspended') AS suspended
               FROM bazar.users u WHERE {within_reach} GROUP BY u.plan) c ON c.plan = p.name
    ORDER BY p.position
"""
_WITHIN_REACH = """
    u.id IN (SELECT r.user_id FROM bazar.memberships r
             WHERE r.organization_id = ANY(%(organizations)s::uuid[]) UNION SELECT %(oneself)s::uuid)
"""
_TABLE = """
    SELECT p.name, p.title, coalesce((SELECT jsonb_agg(x.permission) FROM bazar.plan_permissions x
                                      WHERE x.plan = p.name), '[]'::jsonb) AS permissions
    FROM bazar.plans p ORDER BY p.position
"""


class _Usage(NamedTuple):
    name: str
    title: str
    users: int
    suspended: int


def table(connection: Connection) -> tuple[PlanDetails, ...]:
    """Return every plan with what it allows, from the least to the most."""
    known = {p.value: index for index, p in enumerate(Permission)}
    names = {p.value for p in Plan}
    return tuple(
        PlanDetails(
            Plan(name),
            title,
            # A newer release may have added permissions to the table that this one cannot name.
            tuple(Permission(p) for p in sorted((p for p in permissions if p in known), key=known.__getitem__)),
        )
        for name, title, permissions in connection.execute(_TABLE).fetchall()
        if name in names
    )


def usage(connection: Connection, reach: Reach) -> tuple[PlanUsage, ...]:
    """Count the users that the operator can see on every plan, from Free to Premium."""
    query = _COUNTED.format(within_reach="true" if reach.everything else _WITHIN_REACH)
    values = {"organizations": sorted(reach.organization_ids), "oneself": reach.user_id}
    rows = fetch_all(connection, _Usage, query, values)
    everybody = sum(row.users for row in rows)
    return tuple(
        PlanUsage(
            row.name,
            row.title,
            users=row.users,
            active=row.users - row.suspended,
            suspended=row.suspended,
            share=row.users / everybody if everybody else 0.0,
        )
        for row in rows
    )


def users_on(connection: Connection, plan: Plan) -> tuple[int, int]:
    """Count the users on a plan: active ones and suspended ones."""
    [(active, suspended)] = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE state = 'suspended')"
        " FROM bazar.users WHERE plan = %s",
        (plan.value,),
    ).fetchall()
    return active, suspended


def keep(connection: Connection, *names: Plan) -> Mapping[Plan, frozenset[str]]:
    """Lock plans until the transaction ends, and return the permissions of each. A missing plan is left out."""
    return _locked(connection, names, "SHARE")


def lock(connection: Connection, name: Plan) -> frozenset[str] | None:
    """Lock a plan for an edit, so that two edits come one after the other; None when the table has lost it.

    Users may still be put on it meanwhile.
    """
    return _locked(connection, (name,), "NO KEY UPDATE").get(name)


def add(connection: Connection, plan: Plan, permission: Permission) -> None:
    """Let a plan allow one thing more."""
    connection.execute(
        "INSERT INTO bazar.plan_permissions (plan, permission) VALUES (%s, %s)", (plan.value, permission.value)
    )


def take(connection: Connection, plan: Plan, permission: Permission) -> None:
    """Let a plan allow one thing less; waits for those whose write rests on it."""
    connection.execute(
        "DELETE FROM bazar.plan_permissions WHERE plan = %s AND permission = %s", (plan.value, permission.value)
    )


def _locked(connection: Connection, plans: tuple[Plan, ...], strength: LiteralString) -> dict[Plan, frozenset[str]]:
    names = ([plan.value for plan in plans],)
    lock = f"SELECT name FROM bazar.plans WHERE name = ANY(%s) ORDER BY position FOR {strength}"  # noqa: S608
    held = {Plan(name): set[str]() for name in fetch_values(connection, lock, names)}
    # A second statement: the one above would show the permissions from before the wait for the lock.
    rows = connection.execute("SELECT plan, permission FROM bazar.plan_permissions WHERE plan = ANY(%s)", names)
    for plan, permission in rows.fetchall():
        held[Plan(plan)].add(permission)
    return {plan: frozenset(permissions) for plan, permissions in held.items()}
