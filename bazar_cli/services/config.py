"""The configuration on this machine: settings with their sources, folders, profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.domain.config import LOCAL_PROFILE, Place, Profile, Setting
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn, UsageError
from bazar_cli.domain.target import RemoteTarget, Target, TargetKind, TargetSource
from bazar_cli.domain.urls import HIDDEN, without_secrets

if TYPE_CHECKING:
    from bazar_cli.adapters.config.target import TargetChoice

TARGET_NAMES = (
    "SUPABASE_URL",
    "SUPABASE_KEY",
    "SUPABASE_ANON_KEY",
    "DATABASE_URL",
    "DATABASE_MIGRATION_URL",
    "SUPERUSER_EMAIL",
    "SUPERUSER_PASSWORD",
    "BAZAR_API_URL",
)
NAMES_A_TARGET = ("BAZAR_PROFILE", "SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "BAZAR_API_URL")
"""Variables of which one that is set keeps the active profile from being used."""
OWN_NAMES = (
    "BAZAR_PROFILE",
    "BAZAR_TOKEN",
    "BAZAR_OUTPUT",
    "BAZAR_NO_INPUT",
    "BAZAR_CONFIG_DIR",
    "BAZAR_DATA_DIR",
    "BAZAR_DEBUG",
    "BAZAR_ALLOW_PLAINTEXT",
    "BAZAR_ACCESSIBLE",
)
_SECRET = frozenset({"SUPABASE_KEY", "SUPABASE_ANON_KEY", "SUPERUSER_PASSWORD", "BAZAR_TOKEN"})
_URLS = frozenset({"SUPABASE_URL", "DATABASE_URL", "DATABASE_MIGRATION_URL", "BAZAR_API_URL"})


def choose(profile: str | None, env_file: Path | None) -> TargetChoice:
    """Return the choice of the flags."""
    from bazar_cli.adapters.config.target import TargetChoice

    return TargetChoice(profile, env_file)


def target_of(
    choice: TargetChoice,
    environ: Mapping[str, str],
    cwd: Path,
    hide: Callable[[Mapping[str, str]], None],
    warn: Callable[[str], None],
) -> Target | RemoteTarget:
    """Return the target of a command.

    Parameters: `hide` and `warn` as of `adapters.config.target.resolve_target`.
    Raises: UsageError as `adapters.config.target.resolve_target`.
    """
    from bazar_cli.adapters.config.target import resolve_target

    return resolve_target(choice, environ, cwd, hide, warn)


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that holds the embedded stack. Raises: StoreUnusable `files.no_home`."""
    from bazar_cli.adapters.config.folders import data_dir, demanded

    return demanded(data_dir(environ))


def settings(
    choice: TargetChoice, environ: Mapping[str, str], cwd: Path, warn: Callable[[str], None]
) -> tuple[Setting, ...]:
    """Return every setting with its source and value, without secrets; a missing or half target is shown too.

    Parameters: `warn` as of `adapters.config.target.resolve_target`.
    Raises: UsageError when the sources contradict each other or cannot be read.
    """
    from bazar_cli.adapters.config.folders import config_dir, data_dir
    from bazar_cli.adapters.config.target import target_values

    try:
        source, values = target_values(choice, environ, cwd, warn)
        from_where = origin(source)
    except UsageError as error:
        if error.code != "target.missing":
            raise
        values, from_where = {}, ""
    shown = [Setting(n, redacted(n, values.get(n)), from_where if values.get(n) else "not set") for n in TARGET_NAMES]
    folders = {"BAZAR_CONFIG_DIR": config_dir(environ), "BAZAR_DATA_DIR": data_dir(environ)}
    defaults = {name: str(path) for name, path in folders.items() if path is not None}
    for name in OWN_NAMES:
        given = environ.get(name)
        fallback = defaults.get(name)
        where = "environment" if given else ("default" if fallback else "not set")
        shown.append(Setting(name, redacted(name, given or fallback), where))
    return tuple(shown)


def places(environ: Mapping[str, str]) -> tuple[Place, ...]:
    """Return the folders and files that bazar uses on this machine; without a home folder there are none."""
    from bazar_cli.adapters.config.folders import config_dir, data_dir
    from bazar_cli.adapters.files import is_there

    config, data = config_dir(environ), data_dir(environ)
    found = {
        "config": config,
        "data": data,
        "profiles": config and config / "profiles.toml",
        "secrets": config and config / "secrets",
        "cache": data and data / "cache",
        "local": data and data / "local",
    }
    return tuple(
        Place(name, str(path) if path else None, path is not None and is_there(path)) for name, path in found.items()
    )


def profiles(environ: Mapping[str, str]) -> tuple[Profile, ...]:
    """Return the profiles, by name. Raises: UsageError `config.unreadable`."""
    from bazar_cli.adapters.config.profiles import Profiles

    content = Profiles(environ).read()
    return tuple(
        Profile(
            name=name,
            active=name == content.active,
            supabase_url=without_secrets(values.get("supabase_url", "")),
            superuser_email=values.get("superuser_email"),
            api_url=without_secrets(values["api_url"]) if "api_url" in values else None,
            signed_in=_is_signed_in(environ, name, values),
        )
        for name, values in sorted(content.profiles.items())
    )


def add_profile(environ: Mapping[str, str], name: str, values: Mapping[str, str], *, activate: bool) -> Profile:
    """Save a target under a name, replacing an earlier one; the first profile becomes active.

    Parameters: `values` are the target's variables by their environment names.
    Raises: UsageError `config.profile_name`, `config.profile_reserved` and those of an invalid target.
    """
    from bazar_cli.adapters.config.profiles import Profiles
    from bazar_cli.adapters.config.target import target_from

    check_profile_name(name)
    target_from(TargetSource(TargetKind.PROFILE, name), values, environ)
    Profiles(environ).save(name, values, activate=activate)
    return next(p for p in profiles(environ) if p.name == name)


def check_profile_name(name: str) -> None:
    """Refuse a name that no profile of the user can have.

    Raises: UsageError `config.profile_name`, `config.profile_reserved`.
    """
    from bazar_cli.adapters.config.profiles import check_name

    check_name(name)
    if name == LOCAL_PROFILE:
        raise UsageError(
            "config.profile_reserved",
            f"the profile {name!r} belongs to the embedded stack, whose databases are unprotected",
            hint="choose another name; `bazar local start` makes that profile",
        )


def use_profile(environ: Mapping[str, str], name: str) -> Profile:
    """Make a profile the active one. Raises: UsageError `target.unknown_profile`."""
    from bazar_cli.adapters.config.profiles import Profiles

    Profiles(environ).use(name)
    return next(p for p in profiles(environ) if p.name == name)


def remove_profile(environ: Mapping[str, str], name: str) -> None:
    """Forget a profile with its secrets and its session. Raises: NotFound `config.profile_not_found`."""
    from bazar_cli.adapters.config.profiles import Profiles

    Profiles(environ).remove(name)


def explicit_values(
    choice: TargetChoice, environ: Mapping[str, str], cwd: Path, warn: Callable[[str], None]
) -> dict[str, str] | None:
    """Return the target that a flag or the environment names; None where neither does.

    A profile is never made from the active profile or from an env file that was only found.
    Parameters: `warn` as of `adapters.config.target.resolve_target`.
    """
    from bazar_cli.adapters.config.target import NAMING, target_values

    named = choice.profile is not None or choice.env_file is not None
    if not named and not any(environ.get(n) for n in NAMING):
        return None
    without_profile = {k: v for k, v in environ.items() if k != "BAZAR_PROFILE"}
    return target_values(choice, without_profile, cwd, warn)[1]


def values_of_api(api_url: str | None, choice: TargetChoice) -> dict[str, str] | None:
    """Return the remote target that an option names; None without the option.

    Raises: UsageError `target.two_sources` if another option names a target too, `target.url_invalid` for an empty URL.
    """
    if api_url is None:
        return None
    if choice.profile is not None or choice.env_file is not None:
        other = f"--profile {choice.profile}" if choice.profile is not None else f"--env-file {choice.env_file}"
        raise UsageError("target.two_sources", f"--api-url and {other} name two targets", hint="give one of them")
    if not api_url:
        raise UsageError("target.url_invalid", "--api-url is empty", hint="write the URL of the server")
    return {"BAZAR_API_URL": api_url}


def redacted(name: str, value: str | None) -> str | None:
    """Return a value as it may be shown, without a secret or the password in a URL."""
    if value is None or name not in _SECRET | _URLS:
        return value
    return HIDDEN if name in _SECRET else without_secrets(value)


def origin(source: TargetSource) -> str:
    """Return where a target comes from, for texts: `profile NAME`, `env-file PATH` or `environment`."""
    return "environment" if source.kind is TargetKind.ENVIRONMENT else f"{source.kind} {source.name}"


def _is_signed_in(environ: Mapping[str, str], name: str, values: Mapping[str, str]) -> bool | None:
    """Whether a session of this target is stored and can be read; None if the keyring does not answer."""
    from bazar_cli.adapters.config.checks import api_base
    from bazar_cli.adapters.config.sessions import Sessions

    url = values.get("supabase_url", "")
    if api_url := values.get("api_url"):
        url = RemoteTarget(TargetSource(TargetKind.PROFILE, name), api_base(api_url)).signs_in_at
    try:
        return Sessions(name, url, environ).load() is not None
    except NotSignedIn:
        return False
    except BackendUnavailable:
        return None
