"""How sessions and access tokens are shown."""

from __future__ import annotations

from bazar_cli.domain.auth import AccessToken, LoggedOut, WhoAmI
from bazar_cli.services.config import origin
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.users import MEMBERSHIP, organizations_cell

WHO = View(
    WhoAmI,
    paths=(
        *("user_id", "email", "plan", "state", "is_superuser", "organizations", "target", "supabase_url", "api_url"),
        *("source", "stored_in", "expires_at", "confirmed"),
    ),
    computed={"target": lambda w: origin(w.target)},
    encoders=MEMBERSHIP,
    identifier="user_id",
    cells={"organizations": organizations_cell},
)
TOKEN = View(
    AccessToken,
    renamed={"token": "access_token"},
    computed={"access_token": lambda t: t.token.reveal()},
    raw=lambda t: t.token.reveal(),
    for_shells=True,
)
LOGGED_OUT = View(LoggedOut, renamed={"at_supabase": "ended_at_supabase"})
