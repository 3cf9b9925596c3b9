"""Plans, the permission table, and what a check said."""

from __future__ import annotations

from bazar_cli.domain.plans import MatrixRow, PlanDetails, Verdict
from bazar_cli.runtime.views.base import View

PLAN: View[PlanDetails] = View(
    fields={
        "name": lambda p: p.name.value,
        "title": lambda p: p.title,
        "permissions": lambda p: [permission.value for permission in p.permissions],
    },
    identifier=lambda p: p.name.value,
    cells={"permissions": lambda p: " ".join(permission.value for permission in p.permissions)},
)
PLAN_SUMMARY: View[PlanDetails] = View(
    fields={**PLAN.fields, "permission_count": lambda p: len(p.permissions)},
    table=("name", "title", "permission_count"),
    identifier=PLAN.identifier,
    cells=PLAN.cells,
)
MATRIX: View[MatrixRow] = View(
    fields={
        "permission": lambda row: row.permission.value,
        "free": lambda row: row.free,
        "plus": lambda row: row.plus,
        "premium": lambda row: row.premium,
    },
    identifier=lambda row: row.permission.value,
)
VERDICT: View[Verdict] = View(
    fields={
        "allowed": lambda v: v.allowed,
        "permission": lambda v: v.permission.value,
        "user_id": lambda v: str(v.user_id),
        "email": lambda v: v.email,
        "plan": lambda v: v.plan.value,
        "organization": lambda v: v.organization,
        "reason": lambda v: v.reason,
    },
)
