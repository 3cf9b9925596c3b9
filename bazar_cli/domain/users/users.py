"""Users: what the commands that read ask for. Those that write are in `changes`, checks of values in `values`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires, signed_in
from bazar_cli.domain.entities import Plan, User, UserState
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.text_enum import TextEnum


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
