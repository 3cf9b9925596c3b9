"""The plan table in Postgres."""

from __future__ import annotations

from sqlalchemy import Connection, text

from bazar_cli.domain.permissions import Permission, Plan
from bazar_cli.domain.plans import PlanDetails


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
