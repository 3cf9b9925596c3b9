"""Profiles: named targets in a TOML file, with their secrets in the secret store."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from bazar_cli.adapters.config.folders import config_dir, demanded
from bazar_cli.adapters.config.secret_store import SESSION, SecretStore
from bazar_cli.adapters.files import exclusive_lock, private_folder, read_believed, replaced_private
from bazar_cli.domain.command_lines import quoted
from bazar_cli.domain.config import LOCAL_PROFILE
from bazar_cli.domain.errors import NotFound, UsageError
from bazar_cli.domain.texts import from_json, normalized

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
SECRET_NAMES = ("SUPABASE_KEY", "DATABASE_URL", "SUPABASE_ANON_KEY", "DATABASE_MIGRATION_URL", "SUPERUSER_PASSWORD")
_PLAIN = {"SUPABASE_URL": "supabase_url", "SUPERUSER_EMAIL": "superuser_email", "BAZAR_API_URL": "api_url"}
_VARIABLES = {key: name for name, key in _PLAIN.items()}
_KEYS = ("active", "profiles")
_PROFILE_KEYS = tuple(_VARIABLES)


@dataclass(frozen=True)
class ProfileFile:
    """The TOML file: the active profile, and the values of each profile that are not secret."""

    active: str | None = None
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


class Profiles:
    """The profiles of one configuration folder."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._folder = config_dir(environ)
        self._secrets = SecretStore(environ)

    @property
    def path(self) -> Path:
        """The TOML file. Raises: StoreUnusable `files.no_home`."""
        return demanded(self._folder) / "profiles.toml"

    def read(self) -> ProfileFile:
        """Return the file's content; a missing file counts as an empty one.

        Raises: UsageError `config.unreadable` with the line that is not TOML, the unknown key, or the remedy;
        StoreUnusable `files.folder_open`, `files.folder_not_ours` where another user could have written the file.
        """
        if self._folder is None:
            return ProfileFile()
        text = read_believed(self.path, lambda reason, hint: _unreadable(self.path, reason, hint))
        if text is None:
            return ProfileFile()
        remedy = f"correct or remove {quoted(self.path)}"
        try:
            content = _parse(normalized(text))
        except ValueError as error:
            raise _unreadable(self.path, str(error), remedy) from error
        table: object = content.get("profiles", {})
        active: object = content.get("active")
        if not isinstance(table, dict) or not (active is None or isinstance(active, str)):
            raise _unreadable(self.path, "it is not a file of profiles", remedy)
        found = cast("dict[str, object]", table)
        if not all(_is_table_of_text(values) for values in found.values()):
            raise _unreadable(self.path, "a profile in it is not a table of texts", remedy)
        profiles = cast("dict[str, dict[str, str]]", found)
        keys = [key for key in content if key not in _KEYS]
        keys += [f"profiles.{n}.{key}" for n, values in profiles.items() for key in values if key not in _PROFILE_KEYS]
        if keys:
            # Not ignored: the user wanted it to have an effect.
            raise _unreadable(
                self.path,
                f"{keys[0][:80]!r} is an unknown key; known keys: {', '.join((*_KEYS, *_PROFILE_KEYS))}",
                f"correct the key in {quoted(self.path)}; `bazar config profiles add` stores keys and database URLs",
            )
        return ProfileFile(active, profiles)

    def values(self, name: str) -> dict[str, str]:
        """Return a profile's values by their environment names, secrets included.

        Raises: UsageError `target.unknown_profile`.
        """
        profiles = self.read().profiles
        if name not in profiles:
            raise unknown_profile(name, profiles)
        secret_name = f"profile:{self._folder}:{name}"
        try:
            secrets: object = from_json(self._secrets.get(secret_name) or "{}")
        except ValueError:
            secrets = None
        if not _is_table_of_text(secrets):
            # Without the cause, whose text may hold a secret.
            where = self._secrets.where(secret_name)
            command = "bazar local start" if name == LOCAL_PROFILE else f"bazar config profiles add {name}"
            raise _unreadable(where, "it is damaged", f"write it again: `{command}`") from None
        return {**{_VARIABLES[k]: v for k, v in profiles[name].items()}, **cast("dict[str, str]", secrets)}

    def save(self, name: str, values: Mapping[str, str], *, activate: bool) -> None:
        """Add or replace a profile. Raises: UsageError `config.profile_name`."""
        check_name(name)
        with exclusive_lock(self._locked()):
            current = self.read()
            plain = {key: values[k] for k, key in _PLAIN.items() if values.get(k)}
            secrets = {k: values[k] for k in SECRET_NAMES if values.get(k)}
            active = name if activate or current.active is None else current.active
            with self._replaced(ProfileFile(active, {**current.profiles, name: plain})):
                self._secrets.set(f"profile:{self._folder}:{name}", json.dumps(secrets))

    def use(self, name: str) -> None:
        """Make a profile the active one. Raises: UsageError `target.unknown_profile`."""
        with exclusive_lock(self._locked()):
            current = self.read()
            if name not in current.profiles:
                raise unknown_profile(name, current.profiles)
            with self._replaced(ProfileFile(name, current.profiles)):
                pass

    def remove(self, name: str) -> None:
        """Delete a profile with its secrets and session. Raises: NotFound `config.profile_not_found`."""
        with exclusive_lock(self._locked()):
            current = self.read()
            if name not in current.profiles:
                raise NotFound(
                    "config.profile_not_found",
                    f"there is no profile {name!r}",
                    hint="`bazar config profiles list` shows all",
                )
            left = {n: v for n, v in current.profiles.items() if n != name}
            with self._replaced(ProfileFile(None if current.active == name else current.active, left)):
                self._secrets.delete(f"profile:{self._folder}:{name}")
                self._secrets.delete(f"{SESSION}{name}")

    def _locked(self) -> Path:
        return private_folder(demanded(self._folder)) / "profiles.lock"

    def _replaced(self, content: ProfileFile) -> AbstractContextManager[None]:
        """Replace the file after the block, so that file and secrets change only when the disk has room for both."""
        import tomli_w

        table: dict[str, Any] = {"profiles": {n: dict(v) for n, v in content.profiles.items()}}
        if content.active is not None:
            table = {"active": content.active, **table}
        return replaced_private(self.path, tomli_w.dumps(table))


def check_name(name: str) -> None:
    """Raise UsageError `config.profile_name` for a text that cannot name a profile."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            "config.profile_name",
            f"{name[:80]!r} is not a valid profile name",
            hint="use letters, digits, dots, hyphens and underscores, at most 63, beginning with a letter or a digit",
        )


def unknown_profile(name: str, known: Mapping[str, object]) -> UsageError:
    """Return the error for a profile that does not exist, which names those that do."""
    return UsageError(
        "target.unknown_profile",
        f"there is no profile {name!r}; known: {', '.join(sorted(known)) or 'none'}",
        hint="`bazar config profiles list` shows all; `bazar local start` makes one named local",
    )


def _is_table_of_text(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in cast("dict[str, object]", value).values())


def _parse(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _unreadable(path: Path | str, reason: str, hint: str) -> UsageError:
    return UsageError("config.unreadable", f"the profile file {path} cannot be used: {reason}", hint=hint)
