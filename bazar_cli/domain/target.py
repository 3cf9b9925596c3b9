"""The systems or the server that a command uses, and the identity of the operator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from bazar_cli.domain.route import PREFIX
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.text_enum import TextEnum


class TargetKind(TextEnum):
    """The kind of a target's source; all values of a target come from one source."""

    PROFILE = "profile"
    ENV_FILE = "env-file"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class TargetSource:
    """The source of a target: its kind, and a name to show (profile name, file path)."""

    kind: TargetKind
    name: str
    explicit: bool = False
    """Whether a flag named it."""

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded stack, for which the profile name is reserved."""
        return self.kind is TargetKind.PROFILE and self.name == "local"

    def __str__(self) -> str:
        """Return the source for messages: `profile NAME`, `env-file PATH` or `the environment`."""
        return "the environment" if self.kind is TargetKind.ENVIRONMENT else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Target:
    """The pair of systems that a command uses."""

    source: TargetSource
    supabase_url: str
    """Base URL without a trailing slash; Auth is below `/auth/v1`."""
    supabase_key: Secret
    """The service key, a JWT or `sb_secret_...`."""
    database_url: Secret
    """`postgresql://` URL. It holds a password, so it is only shown redacted."""
    anon_key: Secret | None = None
    migration_url: Secret | None = None
    superuser_email: str | None = None
    superuser_password: Secret | None = None
    database_variable: str = "DATABASE_URL"
    """The variable of `database_url`, for messages."""

    @property
    def to_migrate(self) -> Target:
        """The target for migrations: its database is DATABASE_MIGRATION_URL, where that is set."""
        if self.migration_url is None:
            return self
        return replace(
            self, database_url=self.migration_url, migration_url=None, database_variable="DATABASE_MIGRATION_URL"
        )

    @property
    def postgres_host(self) -> str | None:
        """Hosts and ports of `database_url`; None for a socket of this machine."""
        return _hosts(self.database_url.reveal())

    @property
    def auth_host(self) -> str | None:
        """Host and port of `supabase_url`."""
        return _hosts(self.supabase_url)

    @property
    def signs_in_at(self) -> str:
        """The URL that sessions belong to."""
        return self.supabase_url

    @property
    def session_name(self) -> str:
        """The name of the stored session: the profile, or the Auth URL without one."""
        return _session_name(self)


@dataclass(frozen=True)
class RemoteTarget:
    """A server of bazar's HTTP API, which holds the keys of both systems."""

    source: TargetSource
    api_url: str
    """Base URL without a trailing slash; the API is below `/api/v1`."""

    @property
    def api_host(self) -> str | None:
        """Host and port of `api_url`."""
        return _hosts(self.api_url)

    @property
    def signs_in_at(self) -> str:
        """The URL that sessions belong to; never that of a Supabase project."""
        return self.api_url + PREFIX

    @property
    def session_name(self) -> str:
        """The name of the stored session: the profile, or the URL of the API without one."""
        return _session_name(self)


def _session_name(target: Target | RemoteTarget) -> str:
    return target.source.name if target.source.kind is TargetKind.PROFILE else target.signs_in_at


def _hosts(url: str) -> str | None:
    from bazar_cli.domain.urls import taken_apart

    parts = taken_apart(url)
    return parts.hosts or None if parts else None


class IdentitySource(TextEnum):
    """The source of a command's access token."""

    TOKEN = "BAZAR_TOKEN"  # noqa: S105 - the name of a variable, not a token
    BEARER = "bearer"
    SESSION = "session"
    SUPERUSER = "SUPERUSER_EMAIL"


@dataclass(frozen=True)
class Identity:
    """The identity that a verified access token belongs to."""

    user_id: UUID
    email: str
    session_id: str | None
    access_token: Secret
    expires_at: datetime
    source: IdentitySource
    stored_in: Path | str | None = None
    """The place of the stored session: a path, `keyring`, or None when it was not stored."""
    token_lifetime: timedelta | None = None
    """How long the project's access tokens live, according to this one; None if it does not say."""


@dataclass(frozen=True)
class Session:
    """A session as Supabase Auth returns it."""

    user_id: UUID
    email: str
    access_token: Secret
    refresh_token: Secret
    expires_at: datetime
    """The end by this machine's clock: the time of the request plus the lifetime that Supabase Auth returned."""
