"""The rules for rows of a chunk, asked once for each organization and role that its rows name."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bazar_cli.domain.authz import row_rules
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import BazarError, Denied
from bazar_cli.domain.imports.imports import Status
from bazar_cli.services.users.errors import organization_not_found

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.database import Connection
    from bazar_cli.adapters.postgres.imports.creations import Chunk, Ended, Place
    from bazar_cli.domain.imports.imports import ImportRun


def refused(connection: Connection, grant: Grant, run: ImportRun, chunk: Chunk, lines: Collection[int]) -> list[Ended]:
    """Return the rows of new users that the operator may not write, or whose organization is gone, as failed.

    The organizations are kept until the transaction ends. Raises: Denied if the operator may not choose ids or write
    metadata any more, which concerns all rows; RightsChanged.
    """
    from bazar_cli.adapters.postgres.imports import creations

    if "id" in run.columns:
        row_rules.may_choose_id(grant)
    if "app_metadata" in run.columns:
        row_rules.may_write_app_metadata(grant)
    found: dict[int, Ended] = {}

    def refuse(rows: Collection[int], error: BazarError) -> None:
        for line in rows:
            found.setdefault(line, creations.Ended(line, Status.FAILED, error.code, error.message))

    if "organizations" in run.columns:
        for place in creations.places(connection, chunk, lines):
            error = _refusal(grant, place)
            if error is not None:
                refuse(creations.lines_of(connection, chunk, lines, place), error)
    try:
        row_rules.may_create_user(grant, None, Role.MEMBER)
    except Denied as denied:
        refuse(creations.lines_without_organization(connection, chunk, lines), denied)
    return list(found.values())


def _refusal(grant: Grant, place: Place) -> BazarError | None:
    if place.slug is None:
        return organization_not_found(str(place.organization_id))
    try:
        row_rules.may_give_role(grant, place.organization_id, place.slug, place.role)
    except Denied as denied:
        return denied
    return None
