"""How changes of users are shown."""

from __future__ import annotations

from bazar_cli.domain.entities import User
from bazar_cli.domain.users.changes import AdoptedUser, CreatedUser, PasswordReset, RestoredUser, SuspendedUser
from bazar_cli.terminal.views import users
from bazar_cli.terminal.views.base import View, created_cell, rfc3339
from bazar_cli.terminal.views.encoding import within

_USER = within("user.", User)

CREATED = View(
    CreatedUser,
    paths=(*_USER, "created", "password"),
    computed={
        "id": lambda c: None if c.id_is_provisional else c.user.id,
        "password": lambda c: c.password.reveal() if c.password else None,
    },
    encoders=users.MEMBERSHIP,
    columns={"created": lambda c: created_cell(created=c.created, planned=c.planned)},
    identifier=lambda c: None if c.id_is_provisional else str(c.user.id),
    optional=frozenset({"password"}),
    cells=users.USER.cells,
)
ADOPTED = View(
    AdoptedUser, paths=(*_USER, "adopted"), encoders=users.MEMBERSHIP, identifier="user.id", cells=users.USER.cells
)
RESET = View(
    PasswordReset,
    paths=("user.id", "user.email", "mailed", "link"),
    renamed={"user.id": "user_id"},
    computed={"link": lambda r: r.link.reveal() if r.link else None},
    identifier="user.id",
    optional=frozenset({"link"}),
)
RESTORED = View(
    RestoredUser,
    paths=(*_USER, "changed"),
    encoders=users.MEMBERSHIP,
    table=users.USER.table,
    identifier="user.id",
    cells=users.USER.cells,
)
SUSPENDED = View(
    SuspendedUser,
    paths=(*_USER, "changed", "sessions_ended", "tokens_valid_until"),
    encoders=users.MEMBERSHIP,
    identifier="user.id",
    cells=users.USER.cells,
)


def what_suspending_ends(suspended: SuspendedUser) -> tuple[str, ...]:
    """Say which services refuse a suspended user at once, and which accept issued access tokens, until when."""
    email = suspended.user.email
    if not suspended.changed:
        return (f"{email} is already suspended; nothing was changed",)
    at_once = (
        "refused at once: every command of bazar, and at Supabase Auth sign-in, refresh and, since v2.195, /user"
        if suspended.has_identity
        else f"refused at once: every command of bazar; Supabase has no identity of {email} to ban"
    )
    begun = ("an earlier run began this suspension: its reason is recorded, and this one is not",)
    at_once = (at_once, *(begun if suspended.resumed else ()))
    if not suspended.tokens_issued:
        return (*at_once, "no access token was ever issued to this user")
    until = rfc3339(suspended.tokens_valid_until)
    end = f"until {until} at the latest" if until else "until they expire"
    services = "the Data API, Storage, Realtime, Edge Functions and all services that verify tokens themselves"
    return (*at_once, f"earlier access tokens are accepted by {services} {end}")
