"""How members of organizations are shown."""

from __future__ import annotations

from bazar_cli.domain.orgs.members import Member, MemberChange
from bazar_cli.terminal.views.base import View, rfc3339

MEMBER: View[Member] = View(
    fields={
        "user_id": lambda m: str(m.user_id),
        "email": lambda m: m.email,
        "name": lambda m: m.name,
        "role": lambda m: m.role.value,
        "state": lambda m: m.state.value,
        "joined_at": lambda m: rfc3339(m.joined_at),
    },
    table=("email", "name", "role", "state", "joined_at"),
    identifier=lambda m: str(m.user_id),
)

MEMBER_CHANGE: View[MemberChange] = View(
    fields={
        "organization": lambda c: c.organization,
        "user_id": lambda c: str(c.user_id),
        "email": lambda c: c.email,
        "role": lambda c: c.role.value if c.role else None,
        "previous_role": lambda c: c.previous_role.value if c.previous_role else None,
        "changed": lambda c: c.changed,
    },
    identifier=lambda c: str(c.user_id),
)
