"""Declared state: the organizations, users and plans that a file asks for, and the specs of `diff` and `apply`.

A value that the file does not have is not managed: it is not compared, and not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from bazar_cli.domain.authz.permissions import Permission, in_order
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.declared.nodes import Place
from bazar_cli.domain.entities import Plan, Role, UserState

_READS = (Permission.USERS_READ, Permission.ORGS_READ, Permission.MEMBERS_READ, Permission.PLANS_READ)
DIFF = requires("diff", *_READS, scope=Scope.REACH)
APPLY = requires("apply", *_READS, scope=Scope.ROW, writes=True)

_NOWHERE: Place = (0, 0)


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""A name that the file does not have; None is a user without a name."""
Name: TypeAlias = str | Absent | None


@dataclass(frozen=True)
class DeclaredMembership:
    """A membership of a user; without a role any role is as declared."""

    slug: str
    role: Role | None = None
    at: Place = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class DeclaredUser:
    """A user: a value that is absent or None is not managed."""

    email: str
    name: Name = ABSENT
    plan: Plan | None = None
    organizations: tuple[DeclaredMembership, ...] = ()
    state: UserState | None = None
    must_exist: bool = False
    """The file names the user only as a member, so that the user is not created."""
    at: Place = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class DeclaredOrganization:
    """An organization; without a name any name is as declared."""

    slug: str
    name: str | None = None
    has_members: bool = False
    """The file has the list of members, which may be empty."""
    at: Place = field(default=_NOWHERE, compare=False)


@dataclass(frozen=True)
class DeclaredPlan:
    """A plan with all that it allows; without permissions nothing of it is managed."""

    plan: Plan
    permissions: frozenset[Permission] | None = None


@dataclass(frozen=True)
class DeclaredState:
    """Organizations, users and plans: every value is checked, no slug, address or plan occurs twice."""

    organizations: tuple[DeclaredOrganization, ...] = ()
    users: tuple[DeclaredUser, ...] = ()
    plans: tuple[DeclaredPlan, ...] = ()

    @property
    def with_members(self) -> frozenset[str]:
        """The slugs of the organizations whose members the file names."""
        named = {m.slug for user in self.users for m in user.organizations}
        return frozenset(named.union(o.slug for o in self.organizations if o.has_members))


def as_document(state: DeclaredState) -> dict[str, Any]:
    """Return the state as the content of a file that has the same meaning."""
    members: dict[str, list[dict[str, Any]]] = {o.slug: [] for o in state.organizations if o.has_members}
    for user in state.users:
        for membership in user.organizations if user.must_exist else ():
            members.setdefault(membership.slug, []).append({"email": user.email, **_role(membership)})
    return {
        "organizations": [
            {"slug": o.slug, **_given("name", o.name), **_given("members", members.get(o.slug))}
            for o in state.organizations
        ],
        "users": [_user(user) for user in state.users if not user.must_exist],
        "plans": [{"plan": p.plan.value, **_permissions(p)} for p in state.plans],
    }


def _user(user: DeclaredUser) -> dict[str, Any]:
    return {
        "email": user.email,
        **({} if user.name is ABSENT else {"name": user.name}),
        **({} if user.plan is None else {"plan": user.plan.value}),
        **({"organizations": [{"slug": m.slug, **_role(m)} for m in user.organizations]} if user.organizations else {}),
        **({} if user.state is None else {"state": user.state.value}),
    }


def _permissions(plan: DeclaredPlan) -> Mapping[str, Any]:
    return {} if plan.permissions is None else {"permissions": list(in_order(p.value for p in plan.permissions))}


def _role(membership: DeclaredMembership) -> Mapping[str, Any]:
    return {} if membership.role is None else {"role": membership.role.value}


def _given(key: str, value: object) -> dict[str, Any]:
    return {} if value is None else {key: value}
