"""Which target a command uses: all values come from one source, in the order of docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.adapters.config.checks import (
    checked_api,
    checked_database,
    checked_email,
    checked_key,
    checked_supabase,
    plaintext_hosts,
)
from bazar_cli.adapters.config.folders import config_dir
from bazar_cli.domain.command_lines import option
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import RemoteTarget, Target, TargetKind, TargetSource
from bazar_cli.domain.texts import environment, without_mark

if TYPE_CHECKING:
    from bazar_cli.adapters import ownership

ENV_FILES = (Path(".env"), Path("docker/server/.env"))
"""The default env files, below the current folder."""
_REQUIRED = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")
_DIRECT = (*_REQUIRED, "SUPABASE_ANON_KEY", "DATABASE_MIGRATION_URL")
_API = "BAZAR_API_URL"
NAMING = (*_REQUIRED, _API)
"""The variables that make the environment, or a default env file, the source of the target."""


@dataclass(frozen=True)
class TargetChoice:
    """The target that a flag names; at most one of the two is set."""

    profile: str | None = None
    env_file: Path | None = None


def resolve_target(
    choice: TargetChoice,
    environ: Mapping[str, str],
    cwd: Path,
    hide: Callable[[Mapping[str, str]], None] = lambda _values: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Target | RemoteTarget:
    """Return the target.

    Parameters: `hide` gets the values first, so that messages show no secret; `warn` gets a text about an env file that
    the user named and that others could have written.
    Raises: UsageError `target.two_sources`, `target.missing`, `target.incomplete`, `target.mixed`,
    `target.unknown_profile`, `target.env_file`, `target.env_file_open`, `target.url_invalid`, `target.key_invalid`,
    `target.plaintext_refused`, `users.email_invalid`.
    """
    source, values = target_values(choice, environ, cwd, warn)
    hide(values)
    return target_from(source, values, environ)


def target_from(source: TargetSource, values: Mapping[str, str], environ: Mapping[str, str]) -> Target | RemoteTarget:
    """Return the target that `values` make, by their environment names; with BAZAR_API_URL it is remote.

    Raises: UsageError as `resolve_target`.
    """
    if not values.get(_API):
        return direct_from(source, values, environ)
    direct = [name for name in _DIRECT if values.get(name)]
    if direct:
        names = ", ".join(direct)
        raise UsageError(
            "target.mixed",
            f"the target of {source} is remote by {_API} and direct by {names}",
            hint=f"remove {_API} there for a direct target, or {names} for a remote one",
            details={"direct": direct, "source": source.kind.value, "name": source.name},
        )
    return RemoteTarget(source, checked_api(values[_API], source, plaintext_hosts(environ)))


def direct_from(source: TargetSource, values: Mapping[str, str], environ: Mapping[str, str]) -> Target:
    """Return the direct target that `values` make, by their environment names.

    Raises: UsageError as `resolve_target`.
    """
    missing = [name for name in _REQUIRED if not values.get(name)]
    if missing:
        raise UsageError(
            "target.incomplete",
            f"the target of {source} is not complete: {', '.join(missing)} {_is_are(missing)} missing",
            hint=_complete(source),
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
    """Return the source of the target and its values, complete or not.

    Parameters: `warn` as in `resolve_target`.
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
        return TargetSource(TargetKind.PROFILE, choice.profile, explicit=True), _of_profile(choice.profile, environ)
    if choice.env_file is not None:
        found = _of_named_file(cwd / choice.env_file, warn)
        return TargetSource(TargetKind.ENV_FILE, str(choice.env_file), explicit=True), found
    if environ.get("BAZAR_PROFILE"):
        name = environ["BAZAR_PROFILE"]
        return TargetSource(TargetKind.PROFILE, name), _of_profile(name, environ)
    if any(environ.get(name) for name in NAMING):
        return TargetSource(TargetKind.ENVIRONMENT, "the environment"), _of_environment(environ)
    for name in ENV_FILES:
        found = _of_default_file(cwd, name)
        if found is not None:
            return TargetSource(TargetKind.ENV_FILE, str(name)), found
    from bazar_cli.adapters.config.profiles import Profiles

    profiles = Profiles(environ)
    active = profiles.read().active
    if active is not None:
        return TargetSource(TargetKind.PROFILE, active), profiles.values(active)
    folder = config_dir(environ)
    looked = ["--profile", "--env-file", "BAZAR_PROFILE", *NAMING, *(f"./{f}" for f in ENV_FILES)]
    raise UsageError(
        "target.missing",
        f"no target is configured; looked at {', '.join(looked)} and the active profile"
        + (f" in {folder}" if folder else "; a user without a home folder has no profiles"),
        hint="try bazar on this machine with `bazar local start`, or set SUPABASE_URL, SUPABASE_KEY and DATABASE_URL,"
        " or BAZAR_API_URL for a server of bazar",
    )


def _of_profile(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    # A target from the environment needs no secret store.
    from bazar_cli.adapters.config.profiles import Profiles

    return Profiles(environ).values(name)


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    if environ.get(_API):
        # A remote target needs no library to be read.
        return {name: environ[name] for name in (_API, *_DIRECT) if environ.get(name)}
    from bazar_cli.adapters.config.settings import EnvironmentVariables

    return environment(EnvironmentVariables().given())


def _of_named_file(path: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """Return the variables of a named env file. It counts, also when others could have written it."""
    from bazar_cli.adapters import ownership

    try:
        content = ownership.read(path, follow=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    found = _variables(path, content)
    if content.doubt is not None:
        warn(
            f"the env file {path} may have been written by other users: {content.doubt.reason}; {content.doubt.remedy}"
        )
    return found


def _of_default_file(cwd: Path, name: Path) -> dict[str, str] | None:
    """Return the variables of a default env file; None if it does not exist or belongs to another program.

    A folder, a pipe, and a file that this user cannot see do not count. A link is followed, to see whether the file
    belongs to another program.
    Raises: UsageError `target.env_file`, `target.env_file_open` for a file that others could have written.
    """
    from bazar_cli.adapters import ownership

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
    # Without one of these it belongs to another program.
    if not any(found.get(name) for name in NAMING):
        return None
    if content.doubt is not None:
        raise UsageError(
            "target.env_file_open",
            f"the env file {path} is not used: {content.doubt.reason}",
            hint=f"if you trust it, name it: `{option('env-file', str(name))}`; else name your own target with "
            f"--profile; or close it to others: {content.doubt.remedy}",
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
        # Without the cause, whose text may hold a secret.
        raise UsageError(
            "target.env_file",
            f"line {malformed.line} of the env file {path} cannot be read: {malformed.reason}",
            hint="write the line as NAME=value, and put a value with spaces, quotes or # in single quotes;"
            " --profile or another --env-file chooses another target",
            details={"file": str(path), "line": malformed.line},
        ) from None
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> UsageError:
    reason = "it is not UTF-8 text" if isinstance(error, UnicodeError) else getattr(error, "strerror", None) or error
    return UsageError(
        "target.env_file",
        f"the env file {path} cannot be read: {reason}",
        hint="correct it, or choose another target with --profile or --env-file",
    )


def _complete(source: TargetSource) -> str:
    hint = "set it there; all values of a target come from one source"
    if source.kind is not TargetKind.ENV_FILE or source.explicit:
        return hint
    return f"{hint}. If {source.name} belongs to another program, name yours with --profile or --env-file"


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None
