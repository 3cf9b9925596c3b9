"""Identities at Supabase Auth: their values, and requests for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, TypeAlias
from uuid import UUID

from bazar_cli.domain.errors import BackendUnavailable
from bazar_cli.domain.limits import TOO_MANY, RateLimit
from bazar_cli.domain.secrets import Secret

STAMP = "bazar"
"""The key in `app_metadata` that says which deployment made or adopted an identity (docs/architecture.md)."""

CREATED, ADOPTED = "created", "adopted"
"""The origins in a stamp: the deployment made the identity, or took in one that was there."""

BAN = timedelta(hours=876_000)
"""A hundred years: the length of a ban by bazar. Supabase Auth has no ban without an end."""


@dataclass(frozen=True)
class NewIdentity:
    """An identity to be created with the id of its row in Postgres."""

    id: UUID
    email: str
    deployment: UUID
    origin: str
    """CREATED or ADOPTED."""
    password: Secret | None
    password_hash: Secret | None
    """A bcrypt hash; exactly one of the two is set, because a server that gets none hashes a random one."""
    confirmed: bool = True
    """False for a user who confirms the address by an invitation."""
    user_metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    app_metadata: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class StoredIdentity:
    """An identity as Supabase Auth holds it."""

    id: UUID
    email: str
    deployment: UUID | None
    """The stamp's deployment, None for an identity that no bazar made or adopted."""
    has_signed_in: bool
    banned_until: datetime | None = None
    """Until then Supabase refuses to sign in and to refresh. A past time means no ban."""
    is_confirmed: bool = True
    """The address was confirmed, by its owner or at the creation."""
    invited_at: datetime | None = None
    origin: str | None = None
    """The stamp's origin. It may be any text: others can write identities too."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    """Of the last change at Supabase, such as a sign-in, a ban or a new password."""
    is_deleted: bool = False
    """Soft-deleted at Supabase: the id is kept, the user can never sign in again."""

    def is_banned(self, now: datetime) -> bool:
        """Whether Supabase refuses to sign in this identity at that moment."""
        return self.banned_until is not None and self.banned_until > now

    def is_banned_for_good(self, now: datetime) -> bool:
        """Whether the ban is as long as bazar's. A shorter one was set at Supabase, and ends."""
        return self.banned_until is not None and self.banned_until > now + BAN / 2


def end_of_tokens(ended: datetime, lifetime: timedelta) -> datetime:
    """Return when the last access token expires that was issued until `ended`; tokens expire at whole seconds."""
    return ended.replace(microsecond=0) + timedelta(seconds=1) + lifetime


NOBODY = "user_not_found"
"""Supabase's code for an id that no identity has. Any other 404 comes from a gateway, and proves nothing."""


class IdentityRefused(Exception):
    """Supabase Auth said no (4xx) and did nothing (`adapters.supabase.answers`).

    Parameters: `status` is the HTTP status, `code` Supabase's error code, `message` its sentence; `page` says that
    a gateway refused it with a page.
    """

    limit: ClassVar[RateLimit | None] = None
    """A refusal is never a rate limit: 429 leaves the outcome unknown."""

    def __init__(self, status: int, code: str | None, message: str, *, page: bool = False) -> None:
        super().__init__(message)
        self.page = page
        self.status = status
        self.code = code
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether Supabase says that there is no such identity."""
        return self.status == HTTPStatus.NOT_FOUND and self.code == NOBODY

    @property
    def of_key(self) -> bool:
        """Whether it refused the key, or the token, that the request was made with."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


IN_THE_WAY = (
    "If it fails like this again, a trigger or a foreign key on auth.users, as of a table of yours, may raise the"
    " error: the logs of Auth and Postgres name it, and `SELECT tgname, tgfoid::regproc FROM pg_trigger WHERE tgrelid ="
    " 'auth.users'::regclass AND NOT tgisinternal;` in psql lists the triggers"
)
"""The remedy for an error that the database of Supabase Auth raises each time."""


class OutcomeUnknown(Exception):
    """Supabase Auth answered 5xx or 429, or with none of its answers, or not in time: it may have acted or not.

    The real server answers 500 for a taken email or id (recorded), so this is no proof of a fault.
    Parameters: `status` is the HTTP status of an answer; `retry_after` is in how many seconds Supabase wants to be
    asked again, where it says so.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def limit(self) -> RateLimit | None:
        """The rate limit that Supabase applied, if it did."""
        return RateLimit(self.retry_after) if self.status == TOO_MANY else None

    @property
    def failed_inside(self) -> bool:
        """Whether it answered 500, as where its own database raised an error."""
        return self.status == HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def of_its_database(self) -> bool:
        """Whether Auth says that its database raised an error (Supabase Auth v2.196)."""
        return self.failed_inside and "Database error" in str(self)


Failure: TypeAlias = IdentityRefused | OutcomeUnknown | BackendUnavailable
"""How a request to Supabase Auth ends that does not succeed."""
