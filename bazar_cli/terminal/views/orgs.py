"""How organizations are shown."""

from __future__ import annotations

from bazar_cli.domain.entities import Organization
from bazar_cli.domain.orgs.organizations import CreatedOrganization, Dissolution
from bazar_cli.terminal.views.base import View, fields_of, rfc3339

ORGANIZATION: View[Organization] = View(
    fields={
        "id": lambda o: str(o.id),
        "slug": lambda o: o.slug,
        "name": lambda o: o.name,
        "members": lambda o: o.members,
        "created_at": lambda o: rfc3339(o.created_at),
        "updated_at": lambda o: rfc3339(o.updated_at),
    },
    table=("slug", "name", "members", "created_at"),
    identifier=lambda o: str(o.id),
)

CREATED: View[CreatedOrganization] = View(
    fields={
        **fields_of(ORGANIZATION, lambda c: c.organization),
        "id": lambda c: None if c.id_is_provisional else str(c.organization.id),
    },
    identifier=lambda c: None if c.id_is_provisional else str(c.organization.id),
)

DISSOLUTION: View[Dissolution] = View(
    fields={
        **fields_of(ORGANIZATION, lambda d: d.organization),
        "roles": lambda d: {role.value: count for role, count in d.roles.items()},
        "left_alone": lambda d: d.left_alone,
    },
    identifier=lambda d: str(d.organization.id),
    cells={"roles": lambda d: ";".join(f"{role}:{count}" for role, count in d.roles.items())},
)
