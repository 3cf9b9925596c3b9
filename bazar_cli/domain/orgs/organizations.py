"""Organizations: entities, requests and use-case specs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import FieldRule, Scope, requires
from bazar_cli.domain.consent import Consent
from bazar_cli.domain.entities import Organization, Role
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.page import DEFAULT_LIMIT
from bazar_cli.domain.route import Answer, Route
from bazar_cli.domain.texts import composed, counted, normalized
from bazar_cli.domain.users.values import NAME_MAX
from bazar_cli.domain.versions import Version

SLUG_MAX = 63
PROPOSALS = 200
"""How many slugs are tried to find one that is free."""
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_APOSTROPHES = re.compile("['`\u2018\u2019\u02b9\u02bc]")


@dataclass(frozen=True)
class CreateOrganization:
    """The request of `orgs create`; without an owner the operator becomes the owner."""

    name: str
    slug: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class CreatedOrganization:
    """The organization that was created."""

    organization: Organization
    id_is_provisional: bool = False
    """The id is from a dry run; the real run chooses another one."""


@dataclass(frozen=True)
class ListOrganizations:
    """The request of `orgs list`."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class GetOrganization:
    """An organization by id or slug."""

    organization: str


@dataclass(frozen=True)
class UpdateOrganization:
    """The request of `orgs update`; None leaves a field unchanged."""

    organization: str
    name: str | None = None
    slug: str | None = None
    version: frozenset[Version] | None = None
    """The versions of the organization that may be changed; None for any."""


@dataclass(frozen=True)
class UpdatedOrganization:
    """The organization after an update, and whether the update changed it."""

    organization: Organization
    changed: bool


@dataclass(frozen=True)
class DeleteOrganization:
    """The request of `orgs delete`; `confirm` must be the slug, except in a dry run."""

    organization: str
    confirm: Consent = None
    version: frozenset[Version] | None = None
    """The versions of the organization that may be deleted; None for any."""


@dataclass(frozen=True)
class Dissolution:
    """An organization that is deleted, and what its deletion ends."""

    organization: Organization
    roles: Mapping[Role, int]
    """How many members have each role."""
    left_alone: int
    """How many users it leaves without any organization; only superusers can change them afterwards."""

    def described(self) -> str:
        """Say in one clause what its deletion ends."""
        roles = ", ".join(f"{role} {count}" for role, count in self.roles.items() if count)
        ended = counted(self.organization.members, "membership") + (f" ({roles})" if roles else "")
        users = counted(self.left_alone, "user")
        return f"deleting {self.organization.slug} ends {ended} and leaves {users} without any organization"


CREATE = requires(
    "orgs.create",
    Permission.ORGS_CREATE,
    scope=Scope.ROW,
    writes=True,
    fields={"owner": FieldRule(platform=True)},
    route=Route("POST", "/organizations/", CreateOrganization, CreatedOrganization, creates=True),
)
LIST = requires(
    "orgs.list",
    Permission.ORGS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/organizations/", ListOrganizations, Organization, Answer.PAGE),
)
EXPORT = requires(
    "orgs.export",
    Permission.ORGS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/organizations/export", None, Organization, Answer.STREAM),
)
GET = requires(
    "orgs.get",
    Permission.ORGS_READ,
    scope=Scope.REACH,
    route=Route("GET", "/organizations/{organization}", GetOrganization, Organization),
)
UPDATE = requires(
    "orgs.update",
    Permission.ORGS_UPDATE,
    scope=Scope.ROW,
    writes=True,
    route=Route(
        "PATCH",
        "/organizations/{organization}",
        UpdateOrganization,
        UpdatedOrganization,
        replaced=("name", "slug"),
    ),
)
DELETE = requires(
    "orgs.delete",
    Permission.ORGS_DELETE,
    scope=Scope.ROW,
    writes=True,
    route=Route("DELETE", "/organizations/{organization}", DeleteOrganization, Dissolution),
)


def slug_of(name: str, in_ascii: Callable[[str], str]) -> str:
    """Derive a slug from a name: its letters and digits in ASCII, the rest as single hyphens.

    Parameters: `in_ascii` writes letters of any script in ASCII. It is not given signs and emoji, because it would
    write their names.
    Raises: UsageError `orgs.slug_invalid` if nothing is left.
    """
    # Apostrophes are dropped before and after: some represent a letter, such as the soft sign.
    spoken = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in _APOSTROPHES.sub("", name))
    ascii_name = _APOSTROPHES.sub("", in_ascii(composed(spoken))).lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:SLUG_MAX].strip("-")
    if not slug:
        raise UsageError(
            "orgs.slug_invalid",
            f"the name {name[:40]!r} gives no slug",
            hint="give one with --slug",
        )
    return checked_slug(slug)


def slugs_like(slug: str) -> tuple[str, ...]:
    """Return valid slugs to use in place of a taken one: `acme-2`, `acme-3` and so on."""
    numbered: list[str] = []
    for number in range(2, PROPOSALS + 2):
        ending = f"-{number}"
        candidate = slug[: SLUG_MAX - len(ending)].rstrip("-") + ending
        if not _looks_like_an_id(candidate):
            numbered.append(candidate)
    return tuple(numbered)


def checked_slug(slug: str) -> str:
    """Return the slug if it is valid and does not look like an id.

    Raises: UsageError `orgs.slug_invalid`.
    """
    if len(slug) > SLUG_MAX or not _SLUG.fullmatch(slug):
        raise UsageError(
            "orgs.slug_invalid",
            f"{slug[:80]!r} is not a valid slug: use lower-case letters, digits and single hyphens, at most {SLUG_MAX}",
            hint="give another with --slug",
        )
    if _looks_like_an_id(slug):
        raise UsageError("orgs.slug_invalid", f"{slug!r} looks like an id", hint="give another with --slug")
    return slug


def _looks_like_an_id(slug: str) -> bool:
    try:
        UUID(slug)
    except ValueError:
        return False
    return True


def checked_org_name(name: str) -> str:
    """Return the name, trimmed and NFC-normalized.

    Raises: UsageError `orgs.name_invalid` if it is too long, invisible or has control characters.
    """
    text = normalized(name).strip()
    kinds = {unicodedata.category(c) for c in text}
    if all(kind[0] in "CZ" for kind in kinds):
        problem = f"{name[:40]!r} has no visible character"
    elif len(text) > NAME_MAX:
        problem = f"it has {len(text)} characters"
    elif kinds & {"Cc", "Cs", "Zl", "Zp"}:
        problem = f"{text[:40]!r} has control characters"
    else:
        return text
    raise UsageError(
        "orgs.name_invalid",
        f"this is not a valid organization name: {problem}; use 1 to {NAME_MAX} characters without control characters",
        hint="correct the name",
    )
