"""Users, as the contract shows them."""

from __future__ import annotations

from bazar_cli.domain.users import AdoptedUser, CreatedUser, PasswordReset, User
from bazar_cli.runtime.views.base import Value, View, rfc3339


def _organizations(user: User) -> list[Value]:
    return [{"id": str(m.organization_id), "slug": m.slug, "role": m.role.value} for m in user.organizations]


def _organization_cell(user: User) -> str:
    return ";".join(f"{m.slug}:{m.role.value}" for m in user.organizations)


USER: View[User] = View(
    fields={
        "id": lambda u: str(u.id),
        "email": lambda u: u.email,
        "name": lambda u: u.name,
        "plan": lambda u: u.plan.value,
        "state": lambda u: u.state.value,
        "pending": lambda u: u.pending.value if u.pending else None,
        "is_superuser": lambda u: u.is_superuser,
        "organizations": _organizations,
        "created_at": lambda u: rfc3339(u.created_at),
        "updated_at": lambda u: rfc3339(u.updated_at),
    },
    table=("email", "name", "plan", "state", "organizations", "created_at"),
    identifier=lambda u: str(u.id),
    cells={"organizations": _organization_cell},
)


CREATED: View[CreatedUser] = View(
    fields={
        **{name: (lambda c, g=getter: g(c.user)) for name, getter in USER.fields.items()},
        "id": lambda c: None if c.foretold else str(c.user.id),
        "created": lambda c: c.created,
        "password": lambda c: c.password.reveal() if c.password else None,
    },
    optional=frozenset({"password"}),
    identifier=lambda c: None if c.foretold else str(c.user.id),
    cells={"organizations": lambda c: _organization_cell(c.user)},
)


ADOPTED: View[AdoptedUser] = View(
    fields={
        **{name: (lambda a, g=getter: g(a.user)) for name, getter in USER.fields.items()},
        "adopted": lambda a: a.adopted,
    },
    identifier=lambda a: str(a.user.id),
    cells={"organizations": lambda a: _organization_cell(a.user)},
)
RESET: View[PasswordReset] = View(
    fields={
        "user_id": lambda r: str(r.user.id),
        "email": lambda r: r.user.email,
        "mailed": lambda r: r.mailed,
        "link": lambda r: r.link.reveal() if r.link else None,
    },
    optional=frozenset({"link"}),
    identifier=lambda r: str(r.user.id),
)
