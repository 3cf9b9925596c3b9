"""How plans, the permission table, its changes, and answers about permissions are shown."""

from __future__ import annotations

from bazar_cli.domain.authz.explain import Explanation, Step, Verdict
from bazar_cli.domain.entities import User
from bazar_cli.domain.plans import AssignedPlan, EditedPlan, MatrixRow, PlanDetails, PlanUsage
from bazar_cli.terminal.views import users
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import shape, within


def _mark(has: bool) -> str:
    return "✓" if has else "·"


def _step(step: Step) -> str:
    value = f" {step.value}" if step.value is not None else ""
    return f"{'yes' if step.ok else 'no':<3} {step.name}{value}: {step.why}"


PLAN = View(PlanDetails, identifier="name", cells={"permissions": " ".join})
PLAN_SUMMARY = View(
    PlanDetails,
    computed={"permission_count": lambda p: len(p.permissions)},
    table=("name", "title", "permission_count"),
    identifier="name",
    cells=PLAN.cells,
)
MATRIX = View(
    MatrixRow,
    identifier="permission",
    # Marks of different shape: the grid can be read without colour.
    drawn={"free": _mark, "plus": _mark, "premium": _mark},
)
_DECIDED = ("allowed", "permission", "user_id", "email", "plan", "organization")
VERDICT = View(Verdict, paths=(*_DECIDED, "reason"))
EXPLANATION = View(
    Explanation,
    paths=(*(f"verdict.{name}" for name in _DECIDED), "steps", "verdict.reason", "changes"),
    renamed={"verdict.reason": "decision"},
    encoders={Step: shape(Step, renamed={"name": "step"})},
    cells={"steps": lambda steps: ";".join(map(_step, steps))},
    lines={"steps": lambda steps: tuple(map(_step, steps)), "changes": lambda changes: changes or ("",)},
)
USAGE = View(
    PlanUsage,
    encoders={float: lambda share: round(share, 4)},
    table=("plan", "users", "active", "suspended", "share"),
    identifier="plan",
    drawn={"share": "{:.1%}".format},
    bars=lambda u: u.share,
)
ASSIGNED = View(
    AssignedPlan,
    paths=(*within("user.", User), "previous", "changed", "lost", "gained"),
    renamed={"previous": "previous_plan"},
    encoders=users.MEMBERSHIP,
    identifier="user.id",
    cells={**users.USER.cells, "lost": " ".join, "gained": " ".join},
)
EDITED = View(
    EditedPlan,
    paths=(*within("plan.", PlanDetails), "permission", "changed", "active", "suspended"),
    identifier="plan.name",
    cells=PLAN.cells,
)
