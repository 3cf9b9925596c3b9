"""Sessions and access tokens."""

from __future__ import annotations

from bazar_cli.domain.auth import AccessToken, LoggedOut, WhoAmI
from bazar_cli.services.config import origin
from bazar_cli.terminal.views.base import Value, View, rfc3339


def _organizations(who: WhoAmI) -> list[Value]:
    return [{"id": str(m.organization_id), "slug": m.slug, "role": m.role.value} for m in who.organizations]


WHO: View[WhoAmI] = View(
    fields={
        "user_id": lambda w: str(w.user_id),
        "email": lambda w: w.email,
        "plan": lambda w: w.plan.value if w.plan else None,
        "state": lambda w: w.state.value if w.state else None,
        "is_superuser": lambda w: w.is_superuser,
        "organizations": _organizations,
        "target": lambda w: origin(w.target),
        "supabase_url": lambda w: w.supabase_url,
        "source": lambda w: w.source.value,
        "stored_in": lambda w: str(w.stored_in) if w.stored_in else None,
        "expires_at": lambda w: rfc3339(w.expires_at),
        "confirmed": lambda w: w.confirmed,
    },
    identifier=lambda w: str(w.user_id),
    cells={"organizations": lambda w: ";".join(f"{m.slug}:{m.role.value}" for m in w.organizations)},
)
TOKEN: View[AccessToken] = View(
    fields={
        "access_token": lambda t: t.token.reveal(),
        "expires_at": lambda t: rfc3339(t.expires_at),
    },
    raw=lambda t: t.token.reveal(),
    for_shells=True,
)
LOGGED_OUT: View[LoggedOut] = View(
    fields={
        "was_signed_in": lambda o: o.was_signed_in,
        "ended_at_supabase": lambda o: o.at_supabase,
        "everywhere": lambda o: o.everywhere,
    },
)
