"""Every use case that the API serves, with the service that does it. Routes are in the specs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bazar_cli.domain import audit, auth, plans
from bazar_cli.domain.authz.spec import Access, Spec
from bazar_cli.domain.orgs import members, organizations
from bazar_cli.domain.route import Route
from bazar_cli.domain.users import changes as user_changes
from bazar_cli.domain.users import sessions, users
from bazar_cli.services import auth as auth_services
from bazar_cli.services import server_sessions
from bazar_cli.services.audit import read as audit_services
from bazar_cli.services.orgs import members as member_services
from bazar_cli.services.orgs import organizations as organization_services
from bazar_cli.services.plans import changes as plan_changes
from bazar_cli.services.plans import read as plan_services
from bazar_cli.services.users import adopt, create, delete, read, reset_password, superusers, suspend, update
from bazar_cli.services.users import sessions as session_services


@dataclass(frozen=True)
class Binding:
    """One use case and its service.

    A service is called with the backends, the Grant and the request; that of a public use case with the prover of the
    request's identity in place of the Grant.
    """

    spec: Spec
    service: Callable[[Any, Any, Any], Any]

    @property
    def route(self) -> Route:
        """Where it is served."""
        assert self.spec.route is not None, f"{self.spec.name} has no route"
        return self.spec.route

    @property
    def needs_token(self) -> bool:
        """Whether a request must have an access token: all but signing in, and renewing with a refresh token."""
        return self.spec not in (auth.LOGIN, auth.RENEW)

    @property
    def is_public(self) -> bool:
        """Whether it asks for no Grant."""
        return self.spec.access is Access.PUBLIC


def unserved(bindings: Iterable[Binding]) -> list[str]:
    """Return the names of use cases with a route and no service."""
    bound = [binding.spec for binding in bindings]
    specs = [value for module in _MODULES for value in vars(module).values() if isinstance(value, Spec)]
    return sorted({spec.name for spec in specs if spec.route is not None and spec not in bound})


_MODULES = (audit, auth, members, organizations, plans, sessions, users)
BINDINGS = (
    Binding(auth.LOGIN, server_sessions.login),
    Binding(auth.RENEW, server_sessions.renew),
    Binding(auth.LOGOUT, server_sessions.logout),
    Binding(auth.STATUS, server_sessions.status),
    Binding(auth.REFRESH, server_sessions.may_renew),
    Binding(auth.TOKEN, server_sessions.may_use_token),
    Binding(auth.PASSWORD, auth_services.change_password),
    Binding(user_changes.CREATE, create.create),
    Binding(users.LIST, read.list_page),
    Binding(users.EXPORT, read.export),
    Binding(users.GET, read.get),
    Binding(users.ME, read.me),
    Binding(user_changes.UPDATE, update.update),
    Binding(user_changes.SUSPEND, suspend.suspend),
    Binding(user_changes.RESTORE, suspend.restore),
    Binding(user_changes.DELETE, delete.delete),
    Binding(user_changes.PROMOTE, superusers.promote),
    Binding(user_changes.DEMOTE, superusers.demote),
    Binding(user_changes.RESET_PASSWORD, reset_password.reset),
    Binding(user_changes.ADOPT, adopt.adopt),
    Binding(sessions.LIST, session_services.sessions),
    Binding(sessions.REVOKE, session_services.revoke),
    Binding(organizations.CREATE, organization_services.create),
    Binding(organizations.LIST, organization_services.list_page),
    Binding(organizations.EXPORT, organization_services.export),
    Binding(organizations.GET, organization_services.get),
    Binding(organizations.UPDATE, organization_services.update),
    Binding(organizations.DELETE, organization_services.delete),
    Binding(members.LIST, member_services.list_page),
    Binding(members.ADD, member_services.add),
    Binding(members.UPDATE, member_services.update),
    Binding(members.REMOVE, member_services.remove),
    Binding(plans.LIST, plan_services.list_plans),
    Binding(plans.SHOW, plan_services.show),
    Binding(plans.MATRIX, plan_services.matrix),
    Binding(plans.CHECK, plan_services.check),
    Binding(plans.EXPLAIN, plan_services.explain),
    Binding(plans.USAGE, plan_services.usage),
    Binding(plans.ASSIGN, plan_changes.assign),
    Binding(plans.GRANT, plan_changes.grant_permission),
    Binding(plans.REVOKE, plan_changes.revoke_permission),
    Binding(audit.LIST, audit_services.list_page),
    Binding(audit.EXPORT, audit_services.export),
    Binding(audit.VERIFY, audit_services.verify),
)
