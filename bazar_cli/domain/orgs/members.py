"""Members of organizations: entities, requests and use-case specs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, requires
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.entities import Role, UserState
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.route import Answer, Route


@dataclass(frozen=True)
class Member:
    """A user in one organization, without the user's other organizations."""

    user_id: UUID
    email: str
    name: str | None
    role: Role
    state: UserState
    joined_at: datetime


@dataclass(frozen=True)
class MemberChange:
    """The result of a change of a membership."""

    organization: str
    """The slug."""
    user_id: UUID
    email: str
    role: Role | None
    """The role after the change; None for a user who is not a member."""
    previous_role: Role | None

    @property
    def changed(self) -> bool:
        """Whether the role is another one than before."""
        return self.role is not self.previous_role


@dataclass(frozen=True)
class ListMembers:
    """The request of `orgs members list`; `cursor` continues an earlier page of the same list."""

    organization: str
    role: Role | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class AddMember:
    """The request of `orgs members add`."""

    organization: str
    user: str
    role: Role = Role.MEMBER


@dataclass(frozen=True)
class UpdateMember:
    """The request of `orgs members update`."""

    organization: str
    user: str
    role: Role


@dataclass(frozen=True)
class RemoveMember:
    """The request of `orgs members remove`; `agreed` is the impact that the operator agreed to."""

    organization: str
    user: str
    agreed: Impact | None = None


LIST = requires(
    "orgs.members.list",
    Permission.MEMBERS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/organizations/{organization}/members", ListMembers, Member, Answer.PAGE),
)
ADD = requires(
    "orgs.members.add",
    Permission.MEMBERS_MANAGE,
    scope=Scope.ROW,
    writes=True,
    route=Route("POST", "/organizations/{organization}/members", AddMember, MemberChange, creates=True),
)
UPDATE = requires(
    "orgs.members.update",
    Permission.MEMBERS_MANAGE,
    scope=Scope.ROW,
    writes=True,
    route=Route("PATCH", "/organizations/{organization}/members/{user}", UpdateMember, MemberChange),
)
REMOVE = requires(
    "orgs.members.remove",
    Permission.MEMBERS_MANAGE,
    scope=Scope.ROW,
    writes=True,
    route=Route("DELETE", "/organizations/{organization}/members/{user}", RemoveMember, MemberChange),
)
