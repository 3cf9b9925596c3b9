"""How organizations are shown."""

from __future__ import annotations

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.orgs.organizations import CreatedOrganization, Dissolution
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import within

_ORGANIZATION = within("organization.", Organization)

ORGANIZATION = View(Organization, table=("slug", "name", "members", "created_at"), identifier="id")
CREATED = View(
    CreatedOrganization,
    paths=_ORGANIZATION,
    computed={"id": lambda c: None if c.id_is_provisional else c.organization.id},
    identifier=lambda c: None if c.id_is_provisional else str(c.organization.id),
)
DISSOLUTION = View(
    Dissolution,
    paths=(*_ORGANIZATION, "roles", "left_alone"),
    identifier="organization.id",
    cells={"roles": lambda roles: ";".join(f"{role}:{count}" for role, count in roles.items())},
)
