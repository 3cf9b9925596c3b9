"""Which target a command speaks to: whole from one source, in the order of docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bazar_cli.adapters import ownership
from bazar_cli.adapters.config.checks import (
    checked_database,
    checked_email,
    checked_key,
    checked_supabase,
    plaintext_hosts,
)
from bazar_cli.adapters.config.folders import config_dir
from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.domain.command_lines import option
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.domain.texts import environment, without_mark

ENV_FILES = (Path(".env"), Path("docker/server/.env"))
"""The default env files, below the current folder."""
_REQUIRED = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")


@dataclass(frozen=True)
class TargetChoice:
    """What the flags name; at most one of the two."""

    profile: str | None = None
    env_file: Path | None = None


def resolve_target(
    choice: TargetChoice,
    environ: Mapping[str, str],
    cwd: Path,
    hide: Callable[[Mapping[str, str]], None] = lambda _values: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Target:
    """Return the target.

    Parameters: `hide` is told of its values before anything is said of them; `warn` of an env file that somebody
    named though others could have written it.
    Raises: UsageError `target.two_sources`, `target.missing`, `target.incomplete`, `target.unknown_profile`,
    `target.env_file`, `target.env_file_open`, `target.url_invalid`, `target.key_invalid`, `target.plaintext_refused`,
    `users.email_invalid`.
    """
    source, values = target_values(choice, environ, cwd, warn)
    hide(values)
    return target_from(source, values, environ)


def target_from(source: TargetSource, values: Mapping[str, str], environ: Mapping[str, str]) -> Target:
    """Return the target that `values` make, by their environment names. Raises: UsageError as `resolve_target`."""
    missing = [name for name in _REQUIRED if not values.get(name)]
    if missing:
        raise UsageError(
            "target.incomplete",
            f"the target of {source} is not whole: {', '.join(missing)} {_is_are(missing)} missing",
            hint=_whole(source),
            details={"missing": missing, "source": source.kind.value, "name": source.name},
        )
    allowed = plaintext_hosts(environ)
    anon, migration = values.get("SUPABASE_ANON_KEY"), values.get("DATABASE_MIGRATION_URL")
    return Target(
        source=source,
        supabase_url=checked_supabase(values["SUPABASE_URL"], source, allowed),
        supabase_key=checked_key("SUPABASE_KEY", values["SUPABASE_KEY"], source),
        database_url=checked_database("DATABASE_URL", values["DATABASE_URL"], source, allowed),
        anon_key=checked_key("SUPABASE_ANON_KEY", anon, source) if anon else None,
        migration_url=checked_database("DATABASE_MIGRATION_URL", migration, source, allowed) if migration else None,
        superuser_email=checked_email(values.get("SUPERUSER_EMAIL"), source),
        superuser_password=_secret(values.get("SUPERUSER_PASSWORD")),
    )


def target_values(
    choice: TargetChoice, environ: Mapping[str, str], cwd: Path, warn: Callable[[str], None] = lambda _text: None
) -> tuple[TargetSource, dict[str, str]]:
    """Return the one source that counts and what it sets, whole or not.

    Parameters: `warn` as of `resolve_target`.
    Raises: UsageError `target.two_sources`, `target.missing`, `target.unknown_profile`, `target.env_file`,
    `target.env_file_open`.
    """
    if choice.profile is not None and choice.env_file is not None:
        raise UsageError(
            "target.two_sources",
            f"--profile {choice.profile} and --env-file {choice.env_file} name two targets",
            hint="give one of them",
        )
    if choice.profile is not None:
        source = TargetSource(TargetKind.PROFILE, choice.profile, explicit=True)
        return source, Profiles(environ).values(choice.profile)
    if choice.env_file is not None:
        found = _of_named_file(cwd / choice.env_file, warn)
        return TargetSource(TargetKind.ENV_FILE, str(choice.env_file), explicit=True), found
    if environ.get("BAZAR_PROFILE"):
        name = environ["BAZAR_PROFILE"]
        return TargetSource(TargetKind.PROFILE, name), Profiles(environ).values(name)
    if any(environ.get(name) for name in _REQUIRED):
        from bazar_cli.adapters.config.settings import EnvironmentVariables

        return TargetSource(TargetKind.ENVIRONMENT, "the environment"), environment(EnvironmentVariables().given())
    for name in ENV_FILES:
        found = _of_default_file(cwd, name)
        if found is not None:
            return TargetSource(TargetKind.ENV_FILE, str(name)), found
    profiles = Profiles(environ)
    active = profiles.read().active
    if active is not None:
        return TargetSource(TargetKind.PROFILE, active), profiles.values(active)
    folder = config_dir(environ)
    looked = ["--profile", "--env-file", "BAZAR_PROFILE", *_REQUIRED, *(f"./{f}" for f in ENV_FILES)]
    raise UsageError(
        "target.missing",
        f"no target is configured; looked at {', '.join(looked)} and the active profile"
        + (f" in {folder}" if folder else ", of which a user without a home has none"),
        hint="try everything here with `bazar local start`, or set SUPABASE_URL, SUPABASE_KEY and DATABASE_URL",
    )


def _of_named_file(path: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """Return what a named env file sets. It counts whatever its owner is."""
    try:
        content = ownership.read(path, follow=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    found = _variables(path, content)
    if content.doubt is not None:
        warn(f"the env file {path} may say what others want: {content.doubt.reason}; {content.doubt.remedy}")
    return found


def _of_default_file(cwd: Path, name: Path) -> dict[str, str] | None:
    """Return what a default env file sets; None where no file is there, or it is another program's.

    A folder or a pipe of this name is none, nor is one that lies where this user cannot look. A link is read so that
    another program's is passed over.
    Raises: UsageError `target.env_file`, `target.env_file_open` for one that others could have written.
    """
    path = cwd / name
    try:
        content = ownership.read(path, below=cwd)
    except (FileNotFoundError, NotADirectoryError, ownership.NotRegular):
        return None
    except OSError as error:
        if not os.path.lexists(path) or (isinstance(error, ownership.TooLong) and not _names(error.beginning)):
            return None
        raise _unreadable(path, error) from error
    found = _variables(path, content)
    # Another program's .env that says nothing of Supabase or a database is no target.
    if not any(found.get(required) for required in _REQUIRED):
        return None
    if content.doubt is not None:
        raise UsageError(
            "target.env_file_open",
            f"the env file {path} does not count by itself: {content.doubt.reason}",
            hint=f"if you trust it, name it: `{option('env-file', str(name))}`; else name your own target with "
            f"--profile; or make it yours alone: {content.doubt.remedy}",
            details={"path": str(path)},
        )
    return found


def _names(content: bytes) -> bool:
    from bazar_cli.adapters.config.settings import names_a_target

    return names_a_target(content)


def _variables(path: Path, content: ownership.Content) -> dict[str, str]:
    from bazar_cli.adapters.config.settings import MalformedLine, variables_of_text

    if not _names(content.data):
        return {}
    try:
        return environment(variables_of_text(without_mark(content.data.decode("utf-8"))))
    except MalformedLine as malformed:
        # Its cause may show the line, which may be a secret.
        raise UsageError(
            "target.env_file",
            f"line {malformed.line} of the env file {path} cannot be read: {malformed.reason}",
            hint="write the line as NAME=value, with the whole value in single quotes where it has spaces, quotes or #;"
            " --profile or another --env-file chooses another target",
            details={"file": str(path), "line": malformed.line},
        ) from None
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> UsageError:
    reason = "it is no UTF-8 text" if isinstance(error, UnicodeError) else getattr(error, "strerror", None) or error
    return UsageError(
        "target.env_file",
        f"the env file {path} cannot be read: {reason}",
        hint="mend it, or choose another target with --profile or --env-file",
    )


def _whole(source: TargetSource) -> str:
    said = "set it there; a target comes whole from one source and is never mixed"
    if source.kind is not TargetKind.ENV_FILE or source.explicit:
        return said
    return f"{said}. If {source.name} belongs to another program, name yours with --profile or --env-file"


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None
