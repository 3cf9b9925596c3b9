"""The vocabulary of permissions and plans, and the plan table as the seed migration writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bazar_cli.domain.entities import Plan
from bazar_cli.domain.text_enum import TextEnum


class Permission(TextEnum):
    """One thing that a plan may allow, `noun:action`."""

    USERS_READ = "users:read"
    USERS_CREATE = "users:create"
    USERS_UPDATE = "users:update"
    USERS_DELETE = "users:delete"
    FILES_READ = "files:read"
    FILES_EXECUTE = "files:execute"
    FILES_CREATE = "files:create"
    FILES_UPDATE = "files:update"
    FILES_DELETE = "files:delete"
    ORGS_READ = "orgs:read"
    ORGS_CREATE = "orgs:create"
    ORGS_UPDATE = "orgs:update"
    ORGS_DELETE = "orgs:delete"
    MEMBERS_READ = "members:read"
    MEMBERS_MANAGE = "members:manage"
    PLANS_READ = "plans:read"
    PLANS_ASSIGN = "plans:assign"
    PLANS_MANAGE = "plans:manage"
    DB_READ = "db:read"
    DB_MIGRATE = "db:migrate"
    DB_RESET = "db:reset"
    AUDIT_READ = "audit:read"


_FREE = frozenset(
    {
        Permission.USERS_READ,
        Permission.FILES_READ,
        Permission.ORGS_READ,
        Permission.MEMBERS_READ,
        Permission.PLANS_READ,
    }
)

SEEDED_PLANS: dict[Plan, frozenset[Permission]] = {
    Plan.FREE: _FREE,
    Plan.PLUS: _FREE | {Permission.FILES_EXECUTE},
    Plan.PREMIUM: frozenset(Permission),
}
"""The seed of the first migration, for tests and texts. At run time the table decides."""

KEPT_BY_PREMIUM = frozenset(
    {
        Permission.PLANS_READ,
        Permission.PLANS_ASSIGN,
        Permission.PLANS_MANAGE,
        Permission.DB_READ,
        Permission.DB_MIGRATE,
        Permission.DB_RESET,
        Permission.USERS_READ,
        Permission.USERS_UPDATE,
    }
)
"""Premium cannot lose these (docs/permissions.md): superusers need them to grant permissions."""

WHO_CHANGES_PLANS = "a superuser on Premium"
"""The operators who may move users between plans, edit the plan table and set the superuser flag, for texts."""

_ORDER = {permission.value: index for index, permission in enumerate(Permission)}


def plans_that_only_add(
    plan: Plan, wanted: Iterable[Permission], plans: Mapping[Plan, frozenset[Permission]]
) -> list[Plan]:
    """Return the plans with these permissions that also have every permission of `plan`.

    A move to another plan would take permissions away, also from a superuser.
    """
    needed = plans.get(plan, frozenset()).union(wanted)
    return [other for other in Plan if needed <= plans.get(other, frozenset())]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return permissions in the order of the vocabulary; those that only a newer release knows come last."""
    return tuple(sorted(names, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)))
