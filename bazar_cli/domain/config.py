"""Configuration: what `config` shows and changes."""

from __future__ import annotations

from dataclasses import dataclass

from bazar_cli.domain.authz.spec import public

SHOW = public("config.show", "it shows this machine's own settings, secrets hidden")
PATH = public("config.path", "it shows where files lie on this machine")
PROFILES_LIST = public("config.profiles.list", "it shows names and addresses of this machine's profiles")
PROFILES_ADD = public("config.profiles.add", "it writes this user's own configuration")
PROFILES_USE = public("config.profiles.use", "it writes this user's own configuration")
PROFILES_REMOVE = public("config.profiles.remove", "it writes this user's own configuration")

LOCAL_PROFILE = "local"
"""The profile that `bazar local start` makes, and nobody else does."""


@dataclass(frozen=True)
class Setting:
    """One value, redacted where it is secret, and where it comes from; None for what is not set."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True)
class Place:
    """A file or folder that bazar uses, and whether it is there, as far as this user can see.

    Without a home folder there is no path.
    """

    name: str
    path: str | None
    exists: bool


@dataclass(frozen=True)
class Profile:
    """A named target, without its secrets."""

    name: str
    active: bool
    supabase_url: str
    superuser_email: str | None
    signed_in: bool | None
    """Whether a session is stored; None where the keyring does not say."""
