"""Supabase Auth's identities as the service key reads them: the list, page by page, and one by id."""

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
"""Of the identities whose address has another one in it: "a@example.com" is part of "maria@example.com"."""
_SLACK = 10_000
"""So many identities may be new since the first page, besides twice its total."""


def user_pages(
    http: httpx.Client, target: Target, size: int, most: int = _MOST_LISTED, **query: str
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield the pages of the list, each with the total that the server counted; the last one is not full.

    The first total bounds the list, and `most` bounds that total: a server cannot keep a command reading for ever.
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
            total = int(response.headers["X-Total-Count"])  # which Supabase Auth always sends
            ids = [user["id"] for user in users]
        if total > most:
            raise unavailable(target, f"its list has {total} users, and bazar reads {most} at most")
        bound = 2 * total + _SLACK if bound is None else bound
        seen += len(users)
        if ids and (ids == before or seen > bound):
            raise unavailable(target, "its list of users has no end")
        yield users, total
        if len(users) < size:
            return
        page, before = page + 1, ids


def find_user(http: httpx.Client, target: Target, email: str) -> dict[str, Any] | None:
    """Return the identity with exactly this address, which is in lower case; None when it is free.

    The server's filter is an unescaped LIKE in one case, so what it returns is compared again.
    Raises: as `user_pages`.
    """
    for users, _ in user_pages(http, target, _PAGE, _MOST_FOUND, filter=email):
        for user in users:
            if str(user.get("email", "")).lower() == email:
                return user
    return None


def get_user(http: httpx.Client, target: Target, user_id: UUID) -> dict[str, Any] | None:
    """Return the identity with this id, None when there is none. Raises: as `user_pages`."""
    # Not by the library: it refuses an identity whose metadata, which is anybody's, are no objects.
    with translated(target, "an identity"):
        try:
            return http.get(f"{auth_url(target)}/admin/users/{user_id}", headers=key_headers(target)).json()
        except IdentityRefused as refusal:
            if not refusal.not_found:
                raise
            return None
