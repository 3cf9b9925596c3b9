"""Organizations: entities, requests and use-case specs."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bazar_cli.domain.access import FieldRule, Scope, requires
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.permissions import Permission
from bazar_cli.domain.users import NAME_MAX

CREATE = requires(
    "orgs.create",
    Permission.ORGS_CREATE,
    scope=Scope.ROW,
    writes=True,
    fields={"owner": FieldRule(platform=True)},
)
LIST = requires("orgs.list", Permission.ORGS_READ, scope=Scope.REACH)
GET = requires("orgs.get", Permission.ORGS_READ, scope=Scope.REACH)

SLUG_MAX = 63
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Organization:
    """An organization as bazar shows one; `members` counts its memberships."""

    id: UUID
    slug: str
    name: str
    members: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class CreateOrganization:
    """What `orgs create` was asked; without an owner the operator becomes it."""

    name: str
    slug: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class ListOrganizations:
    """What `orgs list` was asked."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class GetOrganization:
    """An organization by id or slug."""

    organization: str


def slug_of(name: str) -> str:
    """Derive a slug from a name: ASCII letters and digits, the rest as single hyphens.

    Raises: UsageError `orgs.slug_invalid` when nothing is left, which --slug mends.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:SLUG_MAX].strip("-")
    if not slug:
        raise UsageError(
            "orgs.slug_invalid",
            f"no slug can be made from the name {name[:40]!r}",
            hint="give one with --slug",
        )
    return checked_slug(slug)


def checked_slug(slug: str) -> str:
    """Return the slug if it follows the rule and cannot be taken for an id.

    Raises: UsageError `orgs.slug_invalid`.
    """
    if len(slug) > SLUG_MAX or not _SLUG.fullmatch(slug):
        raise UsageError(
            "orgs.slug_invalid",
            f"{slug[:80]!r} is no slug: lower-case letters, digits and single hyphens, at most {SLUG_MAX}",
            hint="give another with --slug",
        )
    try:
        UUID(slug)
    except ValueError:
        return slug
    raise UsageError("orgs.slug_invalid", f"{slug!r} looks like an id", hint="give another with --slug")


def checked_org_name(name: str) -> str:
    """Return the name, trimmed and NFC-normalized.

    Raises: UsageError `orgs.name_invalid` when nothing of it shows, it is too long or holds control characters.
    """
    text = unicodedata.normalize("NFC", name.strip())
    kinds = {unicodedata.category(c) for c in text}
    if all(kind[0] in "CZ" for kind in kinds):
        problem = f"{name[:40]!r} has nothing that can be seen"
    elif len(text) > NAME_MAX:
        problem = f"it has {len(text)} characters"
    elif kinds & {"Cc", "Cs", "Zl", "Zp"}:
        problem = f"{text[:40]!r} has control characters"
    else:
        return text
    raise UsageError(
        "orgs.name_invalid",
        f"this is no organization name: {problem}; 1 to {NAME_MAX} characters without control characters are allowed",
        hint="correct the name",
    )
