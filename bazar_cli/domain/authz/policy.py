"""The decision: an operator, a spec and a request in, a Grant or an explained denial out.

Plan (what) and scope (where) are two orthogonal checks: a superuser is subject to the plan like anyone.
Only the gate imports this module; an import contract holds it.
"""

from __future__ import annotations

from uuid import UUID

from bazar_cli.domain.authz.permissions import WHO_CHANGES_PLANS, Permission, plans_that_only_add
from bazar_cli.domain.authz.spec import Access, Denial, FieldRule, Grant, Operator, Scope, Spec, mint
from bazar_cli.domain.command_lines import command_line
from bazar_cli.domain.entities import Pending, Plan, UserState
from bazar_cli.domain.target import Identity

_USER_FIELDS = ("user", "owner", "email")
"""The fields of requests that name a user."""


def decide(
    operator: Operator,
    spec: Spec,
    request: object,
    request_id: str,
    *,
    dry_run: bool,
    identity: Identity | None,
) -> Grant | Denial:
    """Decide whether `operator` may run `spec` with `request`.

    Parameters: `request` is the frozen request of the use case; its fields are looked up by the names that
    `spec.fields` and `spec.oneself` declare; `identity` is the operator's, for the Grant. Returns a Grant with the
    operator's reach, or a Denial that names the missing permission, the plans that have it, and who can change that.
    """
    if not operator.is_active:
        return _inactive(operator, spec)
    if spec.access is Access.PUBLIC:
        raise ValueError(f"{spec.name} is public and needs no Grant")
    added = [rule for name, rule in spec.fields.items() if _requires_more(rule, getattr(request, name))]
    permissions = frozenset[Permission]() if _names_operator(operator, spec, request) else spec.permissions
    needed = permissions | {rule.permission for rule in added if rule.permission is not None}
    missing = sorted(needed - operator.permissions)
    if missing:
        return _not_in_plan(operator, spec, missing)
    platform = spec.scope is Scope.PLATFORM or any(rule.platform for rule in added)
    if platform and not operator.is_superuser:
        return _not_platform(operator, spec)
    return mint(
        operator,
        spec,
        request_id,
        dry_run=dry_run,
        identity=identity,
        permissions=needed,
        named_users=_named_users(request),
    )


def decide_bootstrap(
    user_id: UUID, email: str, spec: Spec, request_id: str, *, dry_run: bool, identity: Identity | None
) -> Grant | None:
    """Grant a bootstrap command to the verified SUPERUSER_EMAIL; None when the spec is not a bootstrap command.

    The caller has proven that no active superuser on Premium exists.
    Parameters: `identity` is None where Supabase does not have the identity yet, in a dry run only.
    """
    if not spec.bootstrap:
        return None
    operator = Operator(
        id=user_id,
        email=email,
        name=None,
        plan=Plan.PREMIUM,
        state=UserState.ACTIVE,
        pending=None,
        is_superuser=True,
        memberships=(),
        plans={Plan.PREMIUM: spec.permissions},
    )
    return mint(operator, spec, request_id, dry_run=dry_run, identity=identity, bootstrap=True)


def _names_operator(operator: Operator, spec: Spec, request: object) -> bool:
    if not spec.oneself:
        return False
    return str(getattr(request, spec.oneself)).lower() in {operator.email, str(operator.id)}


def _named_users(request: object) -> frozenset[str]:
    """The ids and addresses of users that a request names; the request of `doctor --fix` is just an id."""
    named = {request} if isinstance(request, UUID) else {getattr(request, name, None) for name in _USER_FIELDS}
    return frozenset(str(one).lower() for one in named if one)


def _requires_more(rule: FieldRule, value: object) -> bool:
    return value not in rule.free


def _inactive(operator: Operator, spec: Spec) -> Denial:
    what = "being deleted" if operator.pending is Pending.DELETE else "suspended"
    return Denial(
        code="access.suspended",
        message=f"{operator.email} is {what}; {command_of(spec)} is denied",
        hint=f"ask {operator.restored_by} to restore you",
        details={"state": operator.state.value, "command": command_of(spec)},
    )


def _not_in_plan(operator: Operator, spec: Spec, missing: list[Permission]) -> Denial:
    having = [p for p in Plan if set(missing) <= operator.plans.get(p, frozenset())]
    names = ", ".join(p.value for p in missing)
    own = operator.plan.value.capitalize()
    plans = " or ".join(p.value.capitalize() for p in having)
    where = f"{plans} has it" if having else "no plan has it"
    higher = plans_that_only_add(operator.plan, missing, operator.plans)
    grants = " and ".join(f"`{command_line('plans grant', operator.plan, permission)}`" for permission in missing)
    change = (
        f"{WHO_CHANGES_PLANS} can move {operator.email} to {' or '.join(p.value.capitalize() for p in higher)}:"
        f" `{command_line('plans assign', operator.email, higher[0])}`"
        if higher
        else f"{WHO_CHANGES_PLANS} can add it to a plan: {grants}"
    )
    return Denial(
        code="access.plan",
        message=f"{command_of(spec)} needs {names}, which your plan {own} does not have; {where}",
        hint=change,
        details={
            "permissions": [p.value for p in missing],
            "plan": operator.plan.value,
            "plans_with_it": [p.value for p in having],
            "who_can_change_it": WHO_CHANGES_PLANS,
        },
    )


def _not_platform(operator: Operator, spec: Spec) -> Denial:
    which = "" if spec.scope is Scope.PLATFORM else " with these options"
    return Denial(
        code="access.platform",
        message=f"{command_of(spec)}{which} is for superusers, and {operator.email} is not a superuser",
        hint="ask a superuser to run it",
        details={"scope": Scope.PLATFORM.value, "command": command_of(spec)},
    )


def command_of(spec: Spec) -> str:
    """The command line that a spec belongs to: `users.create` is `bazar users create`."""
    return spec.command or "bazar " + spec.name.replace(".", " ").replace("_", "-")
