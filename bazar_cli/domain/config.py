"""Configuration: the results of the `config` commands, and their specs."""

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
"""The profile of `bazar local start`; no other command makes it."""


@dataclass(frozen=True)
class Setting:
    """One setting: its value, redacted if it is secret, None if it is not set; and its source."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True)
class Place:
    """A file or folder that bazar uses, and whether it exists as far as this user can see.

    `path` is None for a user without a home folder.
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
    api_url: str | None
    """The server of a remote target, which has no other address."""
    signed_in: bool | None
    """Whether a session is stored; None if the keyring does not answer."""
