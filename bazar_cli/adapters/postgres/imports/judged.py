"""The facts about the rows of an import that the row rules need. One query reads them for many rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bazar_cli.adapters.postgres.imports.incoming import DECIDED
from bazar_cli.adapters.postgres.rows import enum_value, fetch_batches
from bazar_cli.adapters.postgres.users import users
from bazar_cli.domain.entities import Role, User
from bazar_cli.domain.findings import DETAILED

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from bazar_cli.adapters.postgres.connections import Connection

_BATCH = 1000
_STAGED: LiteralString = """
    (SELECT * FROM bazar.import_rows WHERE run_id = %(run)s AND status = 'open') AS rows
"""


class Need:
    """Conditions on rows that ask something of the operator; each is a constant."""

    CREATES_ON_PLAN: LiteralString = "action = 'create' AND plan <> 'free'"
    CREATES_WITH_ROLE: LiteralString = "action = 'create' AND organizations -> 0 ->> 'role' <> 'member'"
    JOINS_MORE: LiteralString = "action = 'create' AND jsonb_array_length(organizations) > 1"
    CREATES_ALONE: LiteralString = "action = 'create' AND organizations IS NULL"
    CHOOSES_ID: LiteralString = "action = 'create' AND chosen_id"
    WRITES_APP_METADATA: LiteralString = "action = 'create' AND app_metadata IS NOT NULL"
    UPDATES: LiteralString = "action = 'update'"
    RENAMES: LiteralString = "action = 'update' AND name IS NOT NULL"
    MOVES: LiteralString = "action = 'update' AND plan IS NOT NULL"
    CHANGES_MEMBERSHIPS: LiteralString = "action = 'update' AND organizations IS NOT NULL"


@dataclass(frozen=True)
class Rows:
    """The rows that are decided in this transaction, or the open rows of a run."""

    run_id: uuid.UUID | None = None

    @property
    def relation(self) -> LiteralString:
        """The rows as SQL."""
        return DECIDED if self.run_id is None else _STAGED


@dataclass(frozen=True)
class WantedMembership:
    """A role in an organization that a row asks for."""

    id: uuid.UUID
    """The organization's."""
    slug: str
    role: Role


@dataclass(frozen=True)
class Update:
    """A row that changes a user, with the user."""

    line: int
    user: User
    renames: bool
    memberships: tuple[WantedMembership, ...]
    """Those to be added, or whose role changes."""


def asked(connection: Connection, rows: Rows, needs: tuple[LiteralString, ...]) -> tuple[bool, ...]:
    """Say for each need whether a row has it."""
    columns = ", ".join(f"coalesce(bool_or({need}), false)" for need in needs)
    query = f"SELECT {columns} FROM {rows.relation}"  # noqa: S608 - constants
    return connection.execute(query.encode(), {"run": rows.run_id}).fetchall()[0]


def lines(connection: Connection, rows: Rows, need: LiteralString, **values: object) -> list[tuple[int, int]]:
    """Return the first lines with a need, and with each how many there are."""
    query: LiteralString = f"""
        SELECT line, count(*) OVER () FROM {rows.relation} WHERE {need} ORDER BY line LIMIT %(most)s
    """  # noqa: S608 - constants
    return connection.execute(query, {"run": rows.run_id, "most": DETAILED, **values}).fetchall()


IN_ORGANIZATION: LiteralString = """
    action = 'create'
    AND organizations @> jsonb_build_array(jsonb_build_object('id', %(id)s::text, 'role', %(role)s::text))
"""
"""New users with a role in an organization."""


def new_memberships(connection: Connection, rows: Rows) -> list[WantedMembership]:
    """Return each organization and role that a new user gets."""
    query: LiteralString = f"""
        SELECT DISTINCT (m ->> 'id')::uuid, m ->> 'slug', m ->> 'role'
        FROM {rows.relation} CROSS JOIN LATERAL jsonb_array_elements(organizations) AS m
        WHERE action = 'create' ORDER BY 2, 3
    """  # noqa: S608 - constants
    found = connection.execute(query, {"run": rows.run_id}).fetchall()
    return [_membership(*row) for row in found]


def updates(connection: Connection, rows: Rows) -> Iterator[list[Update]]:
    """Yield the rows that change a user, with the user and all their memberships, some at a time."""
    query: LiteralString = f"""
        SELECT line, user_id, name, organizations FROM {rows.relation} WHERE {Need.UPDATES} ORDER BY line
    """  # noqa: S608 - constants
    for batch in fetch_batches(connection, dict[str, Any], query, {"run": rows.run_id}, batch=_BATCH):
        found = users.with_all_memberships(connection, [row["user_id"] for row in batch])
        yield [
            Update(
                row["line"],
                found[row["user_id"]],
                row["name"] is not None,
                tuple(_membership(uuid.UUID(m["id"]), m["slug"], m["role"]) for m in row["organizations"] or ()),
            )
            for row in batch
            if row["user_id"] in found
        ]


def _membership(organization_id: uuid.UUID, slug: str, role: str) -> WantedMembership:
    return WantedMembership(organization_id, slug, enum_value(Role, role, "import_rows.organizations"))
