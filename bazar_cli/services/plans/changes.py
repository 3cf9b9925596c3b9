"""`plans assign`, `grant` and `revoke`: a change that takes something away needs consent to its impact."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bazar_cli.domain import plans as use_cases
from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.permissions import in_order
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.consent import Impact, check_consent
from bazar_cli.domain.entities import BEING_CREATED_OR_DELETED, Plan, User
from bazar_cli.domain.plans import AssignedPlan, AssignPlan, EditedPlan, EditPlan
from bazar_cli.domain.texts import counted
from bazar_cli.services import invariants
from bazar_cli.services.users import leases
from bazar_cli.services.users.errors import plan_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.services.gate.backends import Backends


def assign(backends: Backends, grant: Grant, request: AssignPlan) -> AssignedPlan:
    """Put a user on a plan; return what that took and gave. Nothing is written if the user is already on it.

    Raises: NotFound `users.not_found`, `plans.not_found`; ConsentNeeded for what it takes away; Conflict
    `users.last_superuser`, and `users.pending` while the user is being created or deleted.
    """
    grant.demand(use_cases.ASSIGN)

    def step(connection: Connection) -> AssignedPlan:
        return _assign(connection, grant, request)

    return leases.when_free(step, backends, grant)


def grant_permission(backends: Backends, grant: Grant, request: EditPlan) -> EditedPlan:
    """Add a permission to a plan; nothing is written if the plan already has it.

    Raises: NotFound `plans.not_found`.
    """
    grant.demand(use_cases.GRANT)

    def step(connection: Connection) -> EditedPlan:
        from bazar_cli.adapters.postgres import plans

        before = plans.lock(connection, request.plan)
        if before is None:
            raise plan_not_found(request.plan)
        if request.permission.value not in before:
            plans.add(connection, request.plan, request.permission)
            _record_edit(connection, grant, request, before, before | {request.permission.value})
        return _edited(connection, request, changed=request.permission.value not in before)

    return leases.when_free(step, backends, grant)


def revoke_permission(backends: Backends, grant: Grant, request: EditPlan) -> EditedPlan:
    """Take a permission from a plan; nothing is written if the plan does not have it.

    Raises: NotFound `plans.not_found`; ConsentNeeded; Conflict `plans.protected`.
    """
    grant.demand(use_cases.REVOKE)

    def step(connection: Connection) -> EditedPlan:
        return _revoke(connection, grant, request)

    return leases.when_free(step, backends, grant)


def _assign(connection: Connection, grant: Grant, request: AssignPlan) -> AssignedPlan:
    from bazar_cli.adapters.postgres import plans
    from bazar_cli.adapters.postgres.audit import events
    from bazar_cli.adapters.postgres.users import changes, users

    locked = leases.locked_user(connection, grant, request.user)
    user = locked.user
    row_rules.may_write_user(grant, user)
    leases.refuse_pending(locked, BEING_CREATED_OR_DELETED)
    if request.plan is not user.plan:
        invariants.keep_last_superuser(connection, user)
    table = plans.keep(connection, user.plan, request.plan)
    if request.plan not in table:
        raise plan_not_found(request.plan)
    if request.plan is user.plan:
        return AssignedPlan(user, user.plan, (), ())
    lost = in_order(table[user.plan] - table[request.plan])
    gained = in_order(table[request.plan] - table[user.plan])
    impact = _impact_on_user(grant, user, request.plan, lost)
    if impact is not None:
        check_consent(impact, request.agreed, optional=grant.dry_run)
    changes.move(connection, user.id, request.plan)
    change = events.Change("user", user.id, before={"plan": user.plan.value}, after={"plan": request.plan.value})
    events.record(connection, grant, change)
    return AssignedPlan(users.seen(connection, grant.reach, user.id), user.plan, lost, gained, impact)


def _impact_on_user(grant: Grant, user: User, plan: Plan, lost: tuple[str, ...]) -> Impact | None:
    """Return what a user loses by the move; None for nothing."""
    # A suspended superuser counts too: after a restore they would manage this Bazar again.
    ends_superuser = user.is_superuser and user.plan is Plan.PREMIUM
    if not lost and not ends_superuser:
        return None
    names = user.plan.value.capitalize(), plan.value.capitalize()
    texts = [f"{user.email} moves from {names[0]} to {names[1]} and loses {', '.join(lost) or 'no permission'}"]
    if ends_superuser:
        texts.append(f"{user.email} remains a superuser, but superusers need Premium to manage this Bazar")
    if ends_superuser and user.id == grant.operator.id:
        texts.append("that is you: only another superuser on Premium can move you back")
    return Impact(
        text="; ".join(texts),
        question=f"Move {user.email} to {names[1]}?",
        command=command_line("plans assign", user.email, plan, yes=True),
        subject=(str(user.id), user.email, user.plan.value, plan.value, str(ends_superuser), *lost),
        users=1,
        details={
            "user_id": str(user.id),
            "previous_plan": user.plan.value,
            "plan": plan.value,
            "lost": list(lost),
            "rules_no_longer": ends_superuser,
        },
    )


def _revoke(connection: Connection, grant: Grant, request: EditPlan) -> EditedPlan:
    from bazar_cli.adapters.postgres import plans

    before = plans.lock(connection, request.plan)
    if before is None:
        raise plan_not_found(request.plan)
    if request.permission.value not in before:
        return _edited(connection, request, changed=False)
    invariants.keep_premium(request.plan, request.permission)
    found = _edited(connection, request, changed=True)
    impact = _impact_on_plan(found)
    check_consent(impact, request.agreed, optional=grant.dry_run)
    plans.take(connection, request.plan, request.permission)
    _record_edit(connection, grant, request, before, before - {request.permission.value})
    left = tuple(p for p in found.plan.permissions if p is not request.permission)
    return replace(found, plan=replace(found.plan, permissions=left), impact=impact)


def _impact_on_plan(found: EditedPlan) -> Impact:
    plan, title, permission = found.plan.name, found.plan.name.value.capitalize(), found.permission
    users = found.active + found.suspended
    return Impact(
        text=f"{counted(users, 'user')} on {title} ({found.active} active,"
        f" {found.suspended} suspended) {'loses' if users == 1 else 'lose'} {permission}",
        question=f"Take {permission} from {title}?",
        command=f"bazar plans revoke {plan} {permission} --yes",
        subject=(plan.value, permission.value),
        users=users,
        details={
            "plan": plan.value,
            "permission": permission.value,
            "active": found.active,
            "suspended": found.suspended,
        },
    )


def _edited(connection: Connection, request: EditPlan, *, changed: bool) -> EditedPlan:
    from bazar_cli.adapters.postgres import plans

    plan = next(p for p in plans.table(connection) if p.name is request.plan)
    active, suspended = plans.users_on(connection, request.plan)
    return EditedPlan(plan, request.permission, changed, active, suspended)


def _record_edit(
    connection: Connection, grant: Grant, request: EditPlan, before: frozenset[str], after: frozenset[str]
) -> None:
    from bazar_cli.adapters.postgres.audit import events

    change = events.Change(
        "plan",
        request.plan.value,
        before={"permissions": list(in_order(before))},
        after={"permissions": list(in_order(after))},
    )
    events.record(connection, grant, change)
