"""Read users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import User
from bazar_cli.domain.errors import NotFound
from bazar_cli.domain.page import Page, checked_limit
from bazar_cli.domain.users import users as use_cases
from bazar_cli.domain.users.users import GetUser, ListUsers
from bazar_cli.services.users.errors import found_organization, found_user

if TYPE_CHECKING:
    from bazar_cli.domain.exports import WantedRows, WrittenRows
    from bazar_cli.services.gate.backends import Backends


def list_page(backends: Backends, grant: Grant, request: ListUsers) -> Page[User]:
    """Return one page of the users that the operator can see.

    Raises: NotFound `orgs.not_found` for an unknown --org; UsageError `list.cursor_invalid`, `list.limit_invalid`.
    """
    from bazar_cli.adapters.postgres.orgs import organizations
    from bazar_cli.adapters.postgres.users import users

    grant.demand(use_cases.LIST)
    checked_limit(request.limit)
    with backends.database().read(grant) as connection:
        organization_id = None
        if request.organization is not None:
            found = organizations.find(connection, grant.reach, request.organization)
            organization_id = found_organization(found, request.organization).id
        return users.page(connection, grant.reach, request, organization_id)


def export(backends: Backends, grant: Grant, wanted: WantedRows | None = None) -> Iterator[Page[User] | WrittenRows]:
    """Yield all users that the operator can see, the oldest first, some at a time.

    Parameters: with `wanted` Postgres writes the rows, unless the database is not in UTF-8.
    """
    from bazar_cli.adapters.postgres import row_texts
    from bazar_cli.adapters.postgres.users import users

    grant.demand(use_cases.EXPORT)
    with backends.database().read(grant) as connection:
        if wanted is not None and row_texts.are_exact(connection):
            yield from users.texts(connection, grant.reach, wanted)
        else:
            for batch in users.stream(connection, grant.reach):
                yield Page(batch, None)


def get(backends: Backends, grant: Grant, request: GetUser) -> User:
    """Return one user by id or email.

    Raises: NotFound `users.not_found`, also for a user that the operator cannot see.
    """
    from bazar_cli.adapters.postgres.users import users

    grant.demand(use_cases.GET)
    with backends.database().read(grant) as connection:
        found = users.find(connection, grant.reach, request.user)
    return found_user(found, request.user)


def me(backends: Backends, grant: Grant, _request: None = None) -> User:
    """Return the operator as a user, with all of their organizations."""
    from bazar_cli.adapters.postgres.users import users

    grant.demand(use_cases.ME)
    with backends.database().read(grant) as connection:
        found = users.find(connection, grant.reach, str(grant.operator.id))
    if found is None:
        raise NotFound("users.not_found", f"{grant.operator.email} was deleted a moment ago")
    return found
