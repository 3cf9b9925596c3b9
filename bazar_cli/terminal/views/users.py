"""How users are shown."""

from __future__ import annotations

from bazar_cli.domain.entities import Membership, User
from bazar_cli.terminal.views.base import View
from bazar_cli.terminal.views.encoding import shape

MEMBERSHIP = {Membership: shape(Membership, renamed={"organization_id": "id"})}


def organizations_cell(organizations: tuple[Membership, ...]) -> str:
    """Return memberships as CSV and tables show them, such as `acme:owner;beta:member`."""
    return ";".join(f"{m.slug}:{m.role}" for m in organizations)


USER = View(
    User,
    encoders=MEMBERSHIP,
    table=("email", "name", "plan", "state", "organizations", "created_at"),
    identifier="id",
    cells={"organizations": organizations_cell},
)
