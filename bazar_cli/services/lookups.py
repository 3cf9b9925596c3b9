"""The one text for what is unknown or out of reach, so that it tells nobody which."""

from __future__ import annotations

from bazar_cli.domain.errors import NotFound


def user_not_found(reference: str) -> NotFound:
    """No user by this id or email, or none within the operator's reach."""
    return NotFound(
        "users.not_found",
        f"no user {reference!r} within your reach",
        hint="name a user by id or email; `bazar users list` shows those you can see",
        details={"user": reference},
    )


def organization_not_found(reference: str) -> NotFound:
    """No organization by this id or slug, or none within the operator's reach."""
    return NotFound(
        "orgs.not_found",
        f"no organization {reference!r} within your reach",
        hint="name an organization by id or slug; `bazar orgs list` shows those you can see",
        details={"organization": reference},
    )
