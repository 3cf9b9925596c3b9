"""Supabase Auth's identities as the service key reads them: the list, page by page, and one by id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx

from bazar_cli.adapters.supabase.http import (
    auth_url,
    explained,
    key_headers,
    key_refused,
    unavailable,
)
from bazar_cli.domain.identities import NOBODY

if TYPE_CHECKING:
    from bazar_cli.domain.errors import BazarError
    from bazar_cli.domain.target import Target

_PAGE = 200
_NOT_FOUND = 404


def user_pages(
    http: httpx.Client, target: Target, size: int, **query: str
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield the pages of the list, each with the total that the server counted; the last one is not full.

    Raises: BackendUnavailable `supabase.unavailable`; Conflict `supabase.key_refused`.
    """
    page = 1
    while True:
        try:
            response = http.get(
                f"{auth_url(target)}/admin/users",
                params={"page": page, "per_page": size, **query},
                headers=key_headers(target),
            )
        except httpx.HTTPError as error:
            raise unavailable(target, error) from error
        if not response.is_success:
            raise unreadable(target, response, response.reason_phrase)
        try:
            users = cast("list[dict[str, Any]]", response.json()["users"])
            total = int(response.headers.get("X-Total-Count") or 0)
        except (ValueError, KeyError, TypeError) as error:
            raise unavailable(target, "its list of users is none") from error
        yield users, total
        if len(users) < size:
            return
        page += 1


def find_user(http: httpx.Client, target: Target, email: str) -> dict[str, Any] | None:
    """Return the identity with exactly this address, which is in lower case; None when it is free.

    The server's filter is an unescaped LIKE in one case, so what it returns is compared again.
    Raises: as `user_pages`.
    """
    for users, _ in user_pages(http, target, _PAGE, filter=email):
        for user in users:
            if str(user.get("email", "")).lower() == email:
                return user
    return None


def get_user(http: httpx.Client, target: Target, user_id: UUID) -> dict[str, Any] | None:
    """Return the identity with this id, None when there is none. Raises: as `user_pages`."""
    # Not by the library: it refuses an identity whose metadata, which is anybody's, are no objects.
    try:
        response = http.get(f"{auth_url(target)}/admin/users/{user_id}", headers=key_headers(target))
    except httpx.HTTPError as error:
        raise unavailable(target, error) from error
    code, message = explained(response)
    if response.status_code == _NOT_FOUND and code == NOBODY:
        return None
    if not response.is_success:
        raise unreadable(target, response, message)
    try:
        return cast("dict[str, Any]", response.json())
    except ValueError as error:
        raise unavailable(target, "its answer is no identity") from error


def unreadable(target: Target, response: httpx.Response, message: str) -> BazarError:
    """The error for a refused read with the service key."""
    status = response.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return key_refused(message, {"status": status})
    return unavailable(target, f"{status} {message}", response)
