"""Which two systems a command speaks to, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from uuid import UUID

from bazar_cli.domain.secrets import Secret


class TargetKind(str, Enum):
    """Where a target comes from; it comes whole from one source."""

    PROFILE = "profile"
    ENV_FILE = "env-file"
    ENVIRONMENT = "environment"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class TargetSource:
    """The one source of a target: its kind and a name to show (profile name, file path)."""

    kind: TargetKind
    name: str
    explicit: bool = False
    """Named by a flag, rather than found."""

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded stack, whose profile nobody else can have."""
        return self.kind is TargetKind.PROFILE and self.name == "local"

    def __str__(self) -> str:
        """Return where a target comes from, for texts: `profile NAME`, `env-file PATH` or `the environment`."""
        return "the environment" if self.kind is TargetKind.ENVIRONMENT else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Target:
    """The pair of systems that a command speaks to."""

    source: TargetSource
    supabase_url: str
    """Base URL without a trailing slash; Auth is below `/auth/v1`."""
    supabase_key: Secret
    """The service key, a JWT or `sb_secret_...`."""
    database_url: Secret
    """`postgresql://` URL; holds a password, so it is shown redacted only."""
    anon_key: Secret | None = None
    migration_url: Secret | None = None
    superuser_email: str | None = None
    superuser_password: Secret | None = None
    database_variable: str = "DATABASE_URL"
    """What names `database_url`, for texts."""

    @property
    def to_migrate(self) -> Target:
        """The pair as whoever migrates sees it: its database over DATABASE_MIGRATION_URL, where that is set."""
        if self.migration_url is None:
            return self
        return replace(
            self, database_url=self.migration_url, migration_url=None, database_variable="DATABASE_MIGRATION_URL"
        )

    @property
    def session_name(self) -> str:
        """The name that a stored session goes by: the profile, or the Auth URL without one."""
        if self.source.kind is TargetKind.PROFILE:
            return self.source.name
        return self.supabase_url


class IdentitySource(str, Enum):
    """Where the access token of a command came from."""

    TOKEN = "BAZAR_TOKEN"  # noqa: S105 - the name of a variable, not a token
    SESSION = "session"
    SUPERUSER = "SUPERUSER_EMAIL"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Identity:
    """Who a verified access token speaks for."""

    user_id: UUID
    email: str
    session_id: str | None
    access_token: Secret
    expires_at: datetime
    source: IdentitySource
    stored_in: Path | str | None = None
    """Where the session is kept: a path, `keyring`, or None when it was not stored."""
    token_lifetime: timedelta | None = None
    """How long access tokens of the project live, by this one; None where it does not say."""


@dataclass(frozen=True)
class Session:
    """A signed-in session as Supabase Auth hands it out."""

    user_id: UUID
    email: str
    access_token: Secret
    refresh_token: Secret
    expires_at: datetime
    """By this machine's clock: the moment of asking, and the lifetime that Supabase Auth named."""
