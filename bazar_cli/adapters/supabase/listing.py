"""Supabase Auth's identities, read with the service key: the list page by page, and one by id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from bazar_cli.adapters.supabase.answers import translated, unavailable
from bazar_cli.adapters.supabase.http import auth_url, key_headers
from bazar_cli.domain.users.identities import IdentityRefused

if TYPE_CHECKING:
    from bazar_cli.domain.target import Target

_PAGE = 200
_MOST_LISTED = 10_000_000
_MOST_FOUND = 100_000
"""The most matches of an address: the filter for "a@example.com" also finds "maria@example.com"."""
_SLACK = 10_000
"""Added to twice the first total, for identities that are created while the list is read."""


def user_pages(
    http: httpx.Client, target: Target, size: int, most: int = _MOST_LISTED, **query: str
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield the pages of the list, each with the total that the server counted.

    The first total limits the number of pages, and `most` limits that total, so that reading always ends.
    Raises: BackendUnavailable `supabase.unavailable`; KeyRefused `supabase.key_refused`.
    """
    page, seen, bound, before = 1, 0, None, None
    while True:
        with translated(target, "its list of users"):
            response = http.get(
                f"{auth_url(target)}/admin/users",
                params={"page": page, "per_page": size, **query},
                headers=key_headers(target),
            )
            users = [dict(user) for user in response.json()["users"]]
            total = int(response.headers["X-Total-Count"])  # Supabase Auth always sends it
            ids = [user["id"] for user in users]
        if total > most:
            raise unavailable(target, f"its list has {total} users, more than the {most} that bazar reads")
        bound = 2 * total + _SLACK if bound is None else bound
        seen += len(users)
        if ids and (ids == before or seen > bound):
            raise unavailable(target, "its list of users has no end")
        yield users, total
        if len(users) < size:
            return
        page, before = page + 1, ids


def find_user(http: httpx.Client, target: Target, email: str) -> dict[str, Any] | None:
    """Return the identity with exactly this address, given in lower case; None without one.

    The server filters by an unescaped LIKE, so each address is compared again.
    Raises: as `user_pages`.
    """
    for users, _ in user_pages(http, target, _PAGE, _MOST_FOUND, filter=email):
        for user in users:
            if str(user.get("email", "")).lower() == email:
                return user
    return None


def get_user(http: httpx.Client, target: Target, user_id: UUID) -> dict[str, Any] | None:
    """Return the identity with this id, None for an unknown id. Raises: as `user_pages`."""
    # Not with the library, which refuses an identity whose metadata are not objects.
    with translated(target, "an identity"):
        try:
            return http.get(f"{auth_url(target)}/admin/users/{user_id}", headers=key_headers(target)).json()
        except IdentityRefused as refusal:
            if not refusal.not_found:
                raise
            return None
