"""Plans, the permission table and its changes, who is on which plan, and what a check said."""

from __future__ import annotations

from bazar_cli.domain.authz.explain import Explanation, Step, Verdict
from bazar_cli.domain.plans import AssignedPlan, EditedPlan, MatrixRow, PlanDetails, PlanUsage
from bazar_cli.terminal.views import users
from bazar_cli.terminal.views.base import View, fields_of


def _mark(has: bool) -> str:
    return "✓" if has else "·"


def _step(step: Step) -> str:
    value = f" {step.value}" if step.value is not None else ""
    return f"{'yes' if step.ok else 'no':<3} {step.name}{value}: {step.why}"


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
    # Told apart by their shape: a grid must be readable without colour.
    drawn={
        "free": lambda row: _mark(row.free),
        "plus": lambda row: _mark(row.plus),
        "premium": lambda row: _mark(row.premium),
    },
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
EXPLANATION: View[Explanation] = View(
    fields={
        **{name: (lambda e, g=getter: g(e.verdict)) for name, getter in VERDICT.fields.items() if name != "reason"},
        "steps": lambda e: [{"step": s.name, "value": s.value, "ok": s.ok, "why": s.why} for s in e.steps],
        "decision": lambda e: e.verdict.reason,
        "changes": lambda e: list(e.changes),
    },
    cells={"steps": lambda e: ";".join(_step(step) for step in e.steps)},
    lines={"steps": lambda e: tuple(_step(step) for step in e.steps), "changes": lambda e: e.changes or ("",)},
)
USAGE: View[PlanUsage] = View(
    fields={
        "plan": lambda u: u.plan,
        "title": lambda u: u.title,
        "users": lambda u: u.users,
        "active": lambda u: u.active,
        "suspended": lambda u: u.suspended,
        "share": lambda u: round(u.share, 4),
    },
    table=("plan", "users", "active", "suspended", "share"),
    identifier=lambda u: u.plan,
    drawn={"share": lambda u: f"{u.share:.1%}"},
    bars=lambda u: u.share,
)
ASSIGNED: View[AssignedPlan] = View(
    fields={
        **fields_of(users.USER, lambda a: a.user),
        "previous_plan": lambda a: a.previous.value,
        "changed": lambda a: a.changed,
        "lost": lambda a: list(a.lost),
        "gained": lambda a: list(a.gained),
    },
    identifier=lambda a: str(a.user.id),
    cells={
        "organizations": lambda a: users.USER.cells["organizations"](a.user),
        "lost": lambda a: " ".join(a.lost),
        "gained": lambda a: " ".join(a.gained),
    },
)
EDITED: View[EditedPlan] = View(
    fields={
        **fields_of(PLAN, lambda e: e.plan),
        "permission": lambda e: e.permission.value,
        "changed": lambda e: e.changed,
        "active": lambda e: e.active,
        "suspended": lambda e: e.suspended,
    },
    identifier=lambda e: e.plan.name.value,
    cells={"permissions": lambda e: PLAN.cells["permissions"](e.plan)},
)
