"""The plan table in Postgres."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Reach
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import PlanDetails, PlanUsage

# One pass over the users; those within reach are found by their memberships, each once.
_COUNTED = """
    SELECT p.name, p.title, coalesce(c.users, 0) AS users, coalesce(c.suspended, 0) AS suspended
    FROM bazar.plans p
    LEFT JOIN (SELECT u.plan, count(*) AS users, count(*) FILTER (WHERE u.state = 'suspended') AS suspended
               FROM bazar.users u WHERE {within_reach} GROUP BY u.plan) c ON c.plan = p.name
    ORDER BY p.position
"""
_WITHIN_REACH = """
    u.id IN (SELECT r.user_id FROM bazar.memberships r
             WHERE r.organization_id = ANY(CAST(:organizations AS uuid[])) UNION SELECT CAST(:oneself AS uuid))
"""


def table(connection: Connection) -> tuple[PlanDetails, ...]:
    """Return every plan with what it allows, from the least to the most."""
    known = {p.value: index for index, p in enumerate(Permission)}
    rows = connection.execute(
        text(
            """
            SELECT p.name, p.title,
                   coalesce((SELECT jsonb_agg(x.permission) FROM bazar.plan_permissions x
                             WHERE x.plan = p.name), '[]'::jsonb) AS permissions
            FROM bazar.plans p ORDER BY p.position
            """
        )
    ).all()
    names = {p.value for p in Plan}
    return tuple(
        PlanDetails(
            Plan(row.name),
            row.title,
            # What a newer release added to the table is nothing that this one can name.
            tuple(Permission(p) for p in sorted((p for p in row.permissions if p in known), key=known.__getitem__)),
        )
        for row in rows
        if row.name in names
    )


def usage(connection: Connection, reach: Reach) -> tuple[PlanUsage, ...]:
    """Count the users within reach on every plan, from the least to the most."""
    if reach.everything:
        rows = connection.execute(text(_COUNTED.format(within_reach="true"))).all()
    else:
        values = {"organizations": [str(i) for i in sorted(reach.organization_ids)], "oneself": reach.user_id}
        rows = connection.execute(text(_COUNTED.format(within_reach=_WITHIN_REACH)), values).all()
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
    row = connection.execute(
        text(
            "SELECT count(*) FILTER (WHERE state = 'active') AS active,"
            " count(*) FILTER (WHERE state = 'suspended') AS suspended FROM bazar.users WHERE plan = :plan"
        ),
        {"plan": plan.value},
    ).one()
    return row.active, row.suspended


def keep(connection: Connection, *names: Plan) -> Mapping[Plan, frozenset[str]]:
    """Keep plans as they are until the transaction ends, and return what each allows; one that is lost is missing."""
    return _locked(connection, names, "SHARE")


def lock(connection: Connection, name: Plan) -> frozenset[str] | None:
    """Lock a plan for an edit, so that two edits come one after the other; None when the table has lost it.

    Users may still be put on it meanwhile.
    """
    return _locked(connection, (name,), "NO KEY UPDATE").get(name)


def add(connection: Connection, plan: Plan, permission: Permission) -> None:
    """Let a plan allow one thing more."""
    connection.execute(
        text("INSERT INTO bazar.plan_permissions (plan, permission) VALUES (:plan, :permission)"),
        {"plan": plan.value, "permission": permission.value},
    )


def take(connection: Connection, plan: Plan, permission: Permission) -> None:
    """Let a plan allow one thing less; waits for those whose write rests on it."""
    connection.execute(
        text("DELETE FROM bazar.plan_permissions WHERE plan = :plan AND permission = :permission"),
        {"plan": plan.value, "permission": permission.value},
    )


def _locked(connection: Connection, names: tuple[Plan, ...], strength: str) -> dict[Plan, frozenset[str]]:
    values = {"names": [name.value for name in names]}
    found = connection.execute(
        text(f"SELECT name FROM bazar.plans WHERE name = ANY(:names) ORDER BY position FOR {strength}"),  # noqa: S608 - constants
        values,
    ).scalars()
    held = {Plan(name): set[str]() for name in found}
    # A statement of its own: in the one above it would show what a plan had before the wait for it.
    rows = connection.execute(
        text("SELECT plan, permission FROM bazar.plan_permissions WHERE plan = ANY(:names)"), values
    )
    for row in rows:
        held[Plan(row.plan)].add(row.permission)
    return {plan: frozenset(permissions) for plan, permissions in held.items()}
