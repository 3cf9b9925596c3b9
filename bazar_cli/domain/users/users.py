"""Users: the requests of reads, and use-case specs. Requests of changes are in `changes`, checks in `values`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires, signed_in
from bazar_cli.domain.entities import Plan, Role, User, UserState
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.text_enum import TextEnum
from bazar_cli.domain.users.changes import (
    AdoptedUser,
    AdoptUser,
    ChangedUser,
    ChangeSuperuser,
    CreatedUser,
    CreateUser,
    DeleteUser,
    PasswordReset,
    ResetPassword,
    RestoredUser,
    RestoreUser,
    SuspendedUser,
    SuspendUser,
    UpdateUser,
)


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


CREATE = requires(
    "users.create",
    Permission.USERS_CREATE,
    scope=Scope.ROW,
    writes=True,
    fields={
        "plan": FieldRule(Permission.PLANS_ASSIGN, platform=True, free=(None, Plan.FREE)),
        "role": FieldRule(Permission.MEMBERS_MANAGE, free=(None, Role.MEMBER)),
    },
    route=Route("POST", "/users/", CreateUser, CreatedUser, creates=True),
)
LIST = requires(
    "users.list",
    Permission.USERS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/users/", ListUsers, User, Answer.PAGE),
)
EXPORT = requires(
    "users.export",
    Permission.USERS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/users/export", None, User, Answer.STREAM),
)
GET = requires(
    "users.get", Permission.USERS_READ, scope=Scope.REACH, route=Route("GET", "/users/{user}", GetUser, User)
)
ME = signed_in("users.me", route=Route("GET", "/users/me", None, User))
UPDATE = requires(
    "users.update",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"email": FieldRule(platform=True)},
    route=Route("PATCH", "/users/{user}", UpdateUser, ChangedUser, replaced=("name",)),
)
SUSPEND = requires(
    "users.suspend",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    route=Route("POST", "/users/{user}/suspend", SuspendUser, SuspendedUser),
)
RESTORE = requires(
    "users.restore",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    route=Route("POST", "/users/{user}/restore", RestoreUser, RestoredUser),
)
DELETE = requires(
    "users.delete",
    Permission.USERS_DELETE,
    scope=Scope.ROW,
    writes=True,
    route=Route("DELETE", "/users/{user}", DeleteUser, User),
)
PROMOTE = requires(
    "users.promote",
    Permission.USERS_UPDATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/{user}/promote", ChangeSuperuser, ChangedUser),
)
RESET_PASSWORD = requires(
    "users.reset-password",
    Permission.USERS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    fields={"print_link": FieldRule(platform=True, free=(False,))},
    route=Route("POST", "/users/{user}/reset-password", ResetPassword, PasswordReset),
)
ADOPT = requires(
    "users.adopt",
    Permission.USERS_CREATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/adopt", AdoptUser, AdoptedUser, creates=True),
)
DEMOTE = requires(
    "users.demote",
    Permission.USERS_UPDATE,
    scope=Scope.PLATFORM,
    writes=True,
    route=Route("POST", "/users/{user}/demote", ChangeSuperuser, ChangedUser),
)
