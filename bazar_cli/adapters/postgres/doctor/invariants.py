"""Queries of `doctor` on Postgres alone: organizations without an owner, and the permissions of the plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bazar_cli.adapters.postgres.superusers import ACTIVE
from bazar_cli.domain.doctor import SHOWN_ROWS, Affected, Found
from bazar_cli.domain.entities import Plan

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.connections import Connection

_OWNERLESS = f"""
    SELECT o.id, o.slug, count(*) OVER () AS total FROM bazar.organizations o
    WHERE NOT EXISTS (SELECT 1 FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id
                      WHERE m.organization_id = o.id AND m.role = 'owner' AND {ACTIVE})
    ORDER BY o.created_at, o.id LIMIT %(shown)s
"""  # noqa: S608 - constants
_PLANS = """
    SELECT p.name, x.permission FROM bazar.plans p LEFT JOIN bazar.plan_permissions x ON x.plan = p.name
    ORDER BY p.position, x.permission
"""


def organizations_without_owner(connection: Connection) -> Found:
    """Return the organizations without an active owner. A user who is being created is reported as pending."""
    rows = connection.execute(_OWNERLESS, {"shown": SHOWN_ROWS}).fetchall()
    return Found(rows[0][2] if rows else 0, tuple(Affected(id_, name=slug) for id_, slug, _ in rows))


def plan_table(connection: Connection) -> dict[str, list[str]]:
    """Return every plan with its stored permissions, also those that this release does not know."""
    table: dict[str, list[str]] = {}
    for plan, permission in connection.execute(_PLANS).fetchall():
        permissions = table.setdefault(plan, [])
        if permission is not None:
            permissions.append(permission)
    return table


def premium_again(permissions: Sequence[str]) -> str:
    """Return the SQL that gives Premium these permissions of the vocabulary back."""
    values = ", ".join(f"('premium', '{permission}')" for permission in permissions)
    return f"INSERT INTO bazar.plan_permissions (plan, permission) VALUES {values} ON CONFLICT DO NOTHING"  # noqa: S608


def plans_again(plans: Sequence[Plan]) -> str:
    """Return the SQL that puts these plans back, in their places."""
    places = {plan: place for place, plan in enumerate(Plan, 1)}
    values = ", ".join(f"('{p.value}', '{p.value.capitalize()}', {places[p]})" for p in plans)
    return f"INSERT INTO bazar.plans (name, title, position) VALUES {values}"  # noqa: S608
