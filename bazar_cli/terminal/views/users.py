"""How users are shown."""

from __future__ import annotations

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.users import AdoptedUser, CreatedUser, PasswordReset, RestoredUser, SuspendedUser
from bazar_cli.terminal.views.base import Value, View, created_cell, fields_of, rfc3339


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
        **fields_of(USER, lambda c: c.user),
        "id": lambda c: None if c.id_is_provisional else str(c.user.id),
        "created": lambda c: c.created,
        "password": lambda c: c.password.reveal() if c.password else None,
    },
    optional=frozenset({"password"}),
    identifier=lambda c: None if c.id_is_provisional else str(c.user.id),
    cells={"organizations": lambda c: _organization_cell(c.user)},
    shown={"created": lambda c: created_cell(created=c.created, planned=c.planned)},
)


ADOPTED: View[AdoptedUser] = View(
    fields={
        **fields_of(USER, lambda a: a.user),
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
RESTORED: View[RestoredUser] = View(
    fields={
        **fields_of(USER, lambda r: r.user),
        "changed": lambda r: r.changed,
    },
    table=USER.table,
    identifier=lambda r: str(r.user.id),
    cells={"organizations": lambda r: _organization_cell(r.user)},
)
SUSPENDED: View[SuspendedUser] = View(
    fields={
        **fields_of(USER, lambda s: s.user),
        "changed": lambda s: s.changed,
        "sessions_ended": lambda s: s.sessions_ended,
        "tokens_valid_until": lambda s: rfc3339(s.tokens_valid_until),
    },
    identifier=lambda s: str(s.user.id),
    cells={"organizations": lambda s: _organization_cell(s.user)},
)


def what_suspending_ends(suspended: SuspendedUser) -> tuple[str, ...]:
    """Say which services refuse a suspended user at once, and which take issued access tokens until when."""
    email = suspended.user.email
    if not suspended.changed:
        return (f"{email} was suspended already; nothing was changed",)
    at_once = (
        "refused at once: every command of bazar, and by Supabase Auth sign-in, refresh and, since v2.195, /user"
        if suspended.has_identity
        else f"refused at once: every command of bazar; Supabase has no identity of {email} that could be banned"
    )
    begun = ("an earlier run began this: the reason that it gave stands, this one is not recorded",)
    at_once = (at_once, *(begun if suspended.resumed else ()))
    if not suspended.tokens_issued:
        return (*at_once, "no access token was ever issued to this user")
    until = rfc3339(suspended.tokens_valid_until)
    end = f"until {until} at the latest" if until else "for as long as tokens of this project live"
    services = "the Data API, Storage, Realtime, Edge Functions and whatever else verifies tokens by itself"
    return (*at_once, f"access tokens issued before are taken by {services} {end}")
