"""Plans: what the plan table says, whether a user has a permission, and how many users are on each plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bazar_cli.domain import plans as use_cases
from bazar_cli.domain.authz.explain import Explanation, Verdict, explanation
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.plans import CheckPermission, MatrixRow, PlanDetails, PlanUsage, ShowPlan
from bazar_cli.services.users.errors import found_organization, found_user, plan_not_found

if TYPE_CHECKING:
    from bazar_cli.services.gate.backends import Backends


def list_plans(backends: Backends, grant: Grant, _request: None = None) -> tuple[PlanDetails, ...]:
    """Return every plan with what it allows, from the least to the most."""
    from bazar_cli.adapters.postgres import plans

    grant.demand(use_cases.LIST)
    with backends.database().read(grant) as connection:
        return plans.table(connection)


def show(backends: Backends, grant: Grant, request: ShowPlan) -> PlanDetails:
    """Return one plan with what it allows.

    Raises: NotFound `plans.not_found` if the table does not have it.
    """
    from bazar_cli.adapters.postgres import plans

    grant.demand(use_cases.SHOW)
    with backends.database().read(grant) as connection:
        found = next((p for p in plans.table(connection) if p.name is request.plan), None)
    if found is None:
        raise plan_not_found(request.plan)
    return found


def matrix(backends: Backends, grant: Grant, _request: None = None) -> tuple[MatrixRow, ...]:
    """Return one row per permission: which plans have it."""
    from bazar_cli.adapters.postgres import plans

    grant.demand(use_cases.MATRIX)
    with backends.database().read(grant) as connection:
        allowed = {p.name: frozenset(p.permissions) for p in plans.table(connection)}
    none: frozenset[Permission] = frozenset()
    return tuple(
        MatrixRow(
            permission,
            free=permission in allowed.get(Plan.FREE, none),
            plus=permission in allowed.get(Plan.PLUS, none),
            premium=permission in allowed.get(Plan.PREMIUM, none),
        )
        for permission in Permission
    )


def check(backends: Backends, grant: Grant, request: CheckPermission) -> Verdict:
    """Say whether a user may use a permission, at all or in one organization, and why.

    Without a user the operator is meant. Raises: NotFound `users.not_found`, `orgs.not_found`.
    """
    grant.demand(use_cases.CHECK)
    return _explained(backends, grant, request).verdict


def explain(backends: Backends, grant: Grant, request: CheckPermission) -> Explanation:
    """Explain the verdict with every condition, and what would change it.

    Without a user the operator is meant. Raises: NotFound `users.not_found`, `orgs.not_found`.
    """
    grant.demand(use_cases.EXPLAIN)
    return _explained(backends, grant, request)


def usage(backends: Backends, grant: Grant, _request: None = None) -> tuple[PlanUsage, ...]:
    """Return how many users that the operator can see are on each plan, from the least plan to the most."""
    from bazar_cli.adapters.postgres import plans

    grant.demand(use_cases.USAGE)
    with backends.database().read(grant) as connection:
        return plans.usage(connection, grant.reach)


def _explained(backends: Backends, grant: Grant, request: CheckPermission) -> Explanation:
    from bazar_cli.adapters.postgres import plans
    from bazar_cli.adapters.postgres.orgs import organizations
    from bazar_cli.adapters.postgres.users import users

    reference = request.user if request.user is not None else str(grant.operator.id)
    with backends.database().read(grant) as connection:
        user = found_user(users.find(connection, grant.reach, reference), reference)
        organization = None
        if request.organization is not None:
            found = organizations.find(connection, grant.reach, request.organization)
            organization = found_organization(found, request.organization)
        allowed = {p.name: frozenset(p.permissions) for p in plans.table(connection)}
    return explanation(user, organization, request.permission, allowed)
