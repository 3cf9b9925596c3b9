"""The spec of a use case, the operator, and the Grant.

The spec of a command is in the `domain/` file of its noun. It alone says what the command requires. The policy
(`domain/authz/policy.py`) decides by it, and the row rules (`domain/authz/row_rules.py`) check the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, Standing, UserState
from bazar_cli.domain.route import Route
from bazar_cli.domain.target import Identity
from bazar_cli.domain.text_enum import TextEnum

_NO_FIELDS: Mapping[str, FieldRule] = MappingProxyType({})


class Access(TextEnum):
    """The operators who may call a use case, before plan and scope are checked."""

    PUBLIC = "public"
    SIGNED_IN = "signed-in"
    PERMISSION = "permission"


class Scope(TextEnum):
    """Which rows a use case may read or change (docs/permissions.md)."""

    NONE = "none"
    ONESELF = "oneself"
    REACH = "reach"
    ROW = "row"
    PLATFORM = "platform"


@dataclass(frozen=True)
class FieldRule:
    """The additional requirement of one field of a request, unless it has one of the free values."""

    permission: Permission | None = None
    platform: bool = False
    free: tuple[object, ...] = (None,)
    """Values that require nothing in addition."""


@dataclass(frozen=True)
class Spec:
    """One use case: its name, what it requires, and whether it writes."""

    name: str
    """`noun.verb`, also the action of its audit event."""
    access: Access
    scope: Scope = Scope.NONE
    permissions: frozenset[Permission] = frozenset()
    writes: bool = False
    fields: Mapping[str, FieldRule] = field(default_factory=lambda: _NO_FIELDS)
    bootstrap: bool = False
    """Allowed to the verified SUPERUSER_EMAIL while no active superuser on Premium exists."""
    without_database: bool = False
    """May run where the server does not have the database of the target; other commands stop there."""
    reason: str = ""
    """Why a public command may be public."""
    command: str = ""
    """How users call it, where the name does not say that: it is a part of another command."""
    oneself: str = ""
    """The field of the request that names a user; operators need no permission for themselves."""
    route: Route | None = None
    """Where the HTTP API serves it; None for a use case that needs a direct target."""

    def __post_init__(self) -> None:
        if self.access is Access.PUBLIC and not self.reason:
            raise ValueError(f"{self.name}: a public command states its reason")
        if (self.access is Access.PERMISSION) != bool(self.permissions):
            raise ValueError(f"{self.name}: access by permission needs permissions, and no other access has them")


def public(name: str, reason: str, *, writes: bool = False, route: Route | None = None) -> Spec:
    """Declare a command that needs no sign-in, with the reason."""
    return Spec(name=name, access=Access.PUBLIC, reason=reason, writes=writes, route=route)


def signed_in(name: str, *, writes: bool = False, route: Route | None = None) -> Spec:
    """Declare a command that any signed-in, active operator may run on themselves."""
    return Spec(name=name, access=Access.SIGNED_IN, scope=Scope.ONESELF, writes=writes, route=route)


def requires(
    name: str,
    *permissions: Permission,
    scope: Scope,
    writes: bool = False,
    fields: Mapping[str, FieldRule] = _NO_FIELDS,
    bootstrap: bool = False,
    without_database: bool = False,
    command: str = "",
    oneself: str = "",
    route: Route | None = None,
) -> Spec:
    """Declare a command that needs permissions of the operator's plan, and a scope."""
    return Spec(
        name=name,
        access=Access.PERMISSION,
        scope=scope,
        permissions=frozenset(permissions),
        writes=writes,
        fields=fields,
        bootstrap=bootstrap,
        without_database=without_database,
        command=command,
        oneself=oneself,
        route=route,
    )


@dataclass(frozen=True)
class Operator(Standing):
    """The signed-in user with plan, state and memberships, as read from the operator view."""

    id: UUID
    email: str
    name: str | None
    plan: Plan
    state: UserState
    pending: Pending | None
    is_superuser: bool
    memberships: tuple[Membership, ...]
    plans: Mapping[Plan, frozenset[Permission]]
    """The plan table: what each plan allows."""

    @property
    def restored_by(self) -> str:
        """The people who may restore the operator: those who may write this user (docs/permissions.md)."""
        if self.is_superuser:
            return "another superuser"
        return "an administrator of your organization" if self.memberships else "a superuser"

    @property
    def permissions(self) -> frozenset[Permission]:
        """The permissions of the operator's plan."""
        return self.plans.get(self.plan, frozenset())

    def role_in(self, organization_id: UUID) -> Role | None:
        """The operator's role in an organization, None outside of it."""
        return next((m.role for m in self.memberships if m.organization_id == organization_id), None)


@dataclass(frozen=True)
class Reach:
    """The users and organizations that an operator can see: all, or oneself and the shared organizations."""

    everything: bool
    user_id: UUID
    memberships: tuple[Membership, ...]

    @property
    def organization_ids(self) -> frozenset[UUID]:
        """The operator's organizations."""
        return frozenset(m.organization_id for m in self.memberships)


class LockedRoles:
    """The operator's roles for the row rules; a transaction locks and compares each one before it is used."""

    def __init__(self, roles: Mapping[UUID, Role]) -> None:
        self._roles = roles
        self._keep: Callable[[UUID, Role | None], None] | None = None

    def get(self, organization_id: UUID) -> Role | None:
        """Return the role in an organization, None outside of it. Raises: RightsChanged inside a transaction."""
        role = self._roles.get(organization_id)
        if self._keep is not None:
            self._keep(organization_id, role)
        return role

    @contextmanager
    def kept_by(self, keep: Callable[[UUID, Role | None], None]) -> Generator[None]:
        """Let `keep` lock and compare each role that is used in this block."""
        self._keep = keep
        try:
            yield
        finally:
            self._keep = None


@dataclass(frozen=True)
class Denial:
    """An explained no."""

    code: str
    message: str
    hint: str
    details: Mapping[str, object]


class Sealed(RuntimeError):
    """A bug: a Grant was made outside the gate, or a system was opened without one."""


_SEAL = object()


@dataclass(frozen=True)
class Grant:
    """The gate's permission to run one use case; transactions and the admin client need it.

    Only `policy.decide` and `policy.decide_bootstrap` make one: the constructor checks their seal.
    """

    operator: Operator
    spec: Spec
    reach: Reach
    request_id: str
    dry_run: bool = False
    bootstrap: bool = False
    identity: Identity | None = field(default=None, repr=False)
    """The verified identity; None only in a dry run of a bootstrap whose first superuser Supabase does not have yet."""
    permissions: frozenset[Permission] = frozenset()
    """The permissions that the decision needed: a transaction that writes checks that the plan still has them."""
    named_users: frozenset[str] = frozenset()
    """Ids and addresses of users in the request: a transaction locks them and the operator in one order."""
    _roles: LockedRoles = field(default_factory=lambda: LockedRoles({}), repr=False, compare=False)
    seal: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise Sealed(f"a Grant for {self.spec.name} was made outside the gate")

    @property
    def session_id(self) -> str | None:
        """The operator's session: found in `auth.sessions` of the database, it proves that both are one project."""
        return self.identity.session_id if self.identity else None

    @property
    def token_lifetime(self) -> timedelta | None:
        """How long the project's access tokens live, by the operator's own; None where it does not say."""
        return self.identity.token_lifetime if self.identity else None

    def role_in(self, organization_id: UUID) -> Role | None:
        """The operator's role in an organization, None outside of it; a transaction keeps it until its end.

        Raises: RightsChanged inside a transaction, if the role has changed.
        """
        return self._roles.get(organization_id)

    def keeping_roles(self, keep: Callable[[UUID, Role | None], None]) -> AbstractContextManager[None]:
        """Let `keep` lock and compare each role that the row rules use in this block."""
        return self._roles.kept_by(keep)

    def demand(self, spec: Spec) -> None:
        """Check that this Grant is for `spec`. Raises: Sealed."""
        if self.spec is not spec:
            raise Sealed(f"a Grant for {self.spec.name} was used for {spec.name}")


def mint(
    operator: Operator,
    spec: Spec,
    request_id: str,
    *,
    dry_run: bool,
    identity: Identity | None,
    bootstrap: bool = False,
    permissions: frozenset[Permission] = frozenset(),
    named_users: frozenset[str] = frozenset(),
) -> Grant:
    """Make the Grant; called by the policy alone (a test proves it)."""
    roles = {m.organization_id: m.role for m in operator.memberships}
    return Grant(
        operator,
        spec,
        Reach(everything=operator.is_superuser, user_id=operator.id, memberships=operator.memberships),
        request_id,
        dry_run,
        bootstrap,
        identity,
        permissions,
        named_users,
        LockedRoles(roles),
        seal=_SEAL,
    )
