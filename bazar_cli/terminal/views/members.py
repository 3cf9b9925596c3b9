"""How members of organizations are shown."""

from __future__ import annotations

from bazar_cli.domain.orgs.members import Member, MemberChange
from bazar_cli.terminal.views.base import View

MEMBER = View(Member, table=("email", "name", "role", "state", "joined_at"), identifier="user_id")
MEMBER_CHANGE = View(MemberChange, computed={"changed": lambda c: c.changed}, identifier="user_id")
