"""Users: use-case specs, and the requests of reads. Requests of changes are in `changes`, checks in `values`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires, signed_in
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.text_enum import TextEnum

CREATE = requires(
    "users.create",
    Permission.USERS_CREATE,
    scope=Scope.ROW,
    writes=True,
    fields={
        "plan": FieldRule(Permission.PLANS_ASSIGN, platform=True, free=(None, Plan.FREE)),
        "role": FieldRule(Permission.MEMBERS_MANAGE, free=(None, Role.MEMBER)),
    },
)
LIST = requires("users.list", Permission.USERS_READ, scope=Scope.REACH)
EXPORT = requires("users.export", Permission.USERS_READ, scope=Scope.REACH)
GET = requires("users.get", Permission.USERS_READ, scope=Scope.REACH)
ME = signed_in("users.me")
UPDATE = requires(
    "users.update",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"email": FieldRule(platform=True)},
)
SUSPEND = requires("users.suspend", Permission.USERS_UPDATE, scope=Scope.ROW, writes=True)
RESTORE = requires("users.restore", Permission.USERS_UPDATE, scope=Scope.ROW, writes=True)
DELETE = requires("users.delete", Permission.USERS_DELETE, scope=Scope.ROW, writes=True)
PROMOTE = requires("users.promote", Permission.USERS_UPDATE, scope=Scope.PLATFORM, writes=True)
RESET_PASSWORD = requires(
    "users.reset-password",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"print_link": FieldRule(platform=True, free=(False,))},
)
ADOPT = requires("users.adopt", Permission.USERS_CREATE, scope=Scope.PLATFORM, writes=True)
DEMOTE = requires("users.demote", Permission.USERS_UPDATE, scope=Scope.PLATFORM, writes=True)


class UserSort(TextEnum):
    """The orders of a user list."""

    CREATED = "created"
    EMAIL = "email"


@dataclass(frozen=True)
class ListUsers:
    """The request of `users list`; `cursor` continues an earlier page of the same list."""

    organization: str | None = None
    plan: Plan | None = None
    state: UserState | None = None
    search: str | None = None
    created_since: datetime | None = None
    sort: UserSort = UserSort.CREATED
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class GetUser:
    """A user by id or email."""

    user: str
