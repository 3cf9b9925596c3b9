"""Which target a command speaks to: whole from one source, in the order of design section 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from bazar_cli.adapters.config.folders import config_dir
from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource

ENV_FILES = (Path(".env"), Path("docker/server/.env"))
"""The default env files, below the current folder."""
_REQUIRED = ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", ""})
_ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True)
class TargetChoice:
    """What the flags name; at most one of the two."""

    profile: str | None = None
    env_file: Path | None = None


def resolve_target(choice: TargetChoice, environ: Mapping[str, str], cwd: Path) -> Target:
    """Return the target.

    Raises: UsageError `target.two_sources`, `target.missing`, `target.incomplete`, `target.unknown_profile`,
    `target.env_file`, `target.url_invalid`, `target.plaintext_refused`.
    """
    source, values = target_values(choice, environ, cwd)
    return target_from(source, values, environ)


def target_from(source: TargetSource, values: Mapping[str, str], environ: Mapping[str, str]) -> Target:
    """Return the target that `values` make, by their environment names. Raises: UsageError as `resolve_target`."""
    missing = [name for name in _REQUIRED if not values.get(name)]
    if missing:
        raise UsageError(
            "target.incomplete",
            f"the target of {_described(source)} is not whole: {', '.join(missing)} {_is_are(missing)} missing",
            hint="set it there; a target comes whole from one source and is never mixed",
            details={"missing": missing, "source": source.kind.value, "name": source.name},
        )
    allowed = frozenset(filter(None, environ.get("BAZAR_ALLOW_PLAINTEXT", "").replace(",", " ").split()))
    supabase_url = _checked_supabase(values["SUPABASE_URL"], source, allowed)
    database_url = _checked_database("DATABASE_URL", values["DATABASE_URL"], source, allowed)
    migration = values.get("DATABASE_MIGRATION_URL")
    return Target(
        source=source,
        supabase_url=supabase_url,
        supabase_key=Secret(values["SUPABASE_KEY"]),
        database_url=Secret(database_url),
        anon_key=_secret(values.get("SUPABASE_ANON_KEY")),
        migration_url=_secret(_checked_database("DATABASE_MIGRATION_URL", migration, source, allowed))
        if migration
        else None,
        superuser_email=values.get("SUPERUSER_EMAIL"),
        superuser_password=_secret(values.get("SUPERUSER_PASSWORD")),
    )


def target_values(choice: TargetChoice, environ: Mapping[str, str], cwd: Path) -> tuple[TargetSource, dict[str, str]]:
    """Return the one source that counts and what it sets, whole or not.

    Raises: UsageError `target.two_sources`, `target.missing`, `target.unknown_profile`, `target.env_file`.
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
        path = cwd / choice.env_file
        return TargetSource(TargetKind.ENV_FILE, str(choice.env_file), explicit=True), _of_file(path)
    if environ.get("BAZAR_PROFILE"):
        name = environ["BAZAR_PROFILE"]
        return TargetSource(TargetKind.PROFILE, name), Profiles(environ).values(name)
    if any(environ.get(name) for name in _REQUIRED):
        from bazar_cli.adapters.config.settings import EnvironmentVariables

        return TargetSource(TargetKind.ENVIRONMENT, "the environment"), EnvironmentVariables().given()
    for name in ENV_FILES:
        if (cwd / name).is_file():
            found = _of_file(cwd / name)
            # Another program's .env that says nothing of Supabase or a database is no target.
            if any(found.get(required) for required in _REQUIRED):
                return TargetSource(TargetKind.ENV_FILE, str(name)), found
    profiles = Profiles(environ)
    active = profiles.read().active
    if active is not None:
        return TargetSource(TargetKind.PROFILE, active), profiles.values(active)
    looked = ["--profile", "--env-file", "BAZAR_PROFILE", *_REQUIRED, *(f"./{f}" for f in ENV_FILES)]
    raise UsageError(
        "target.missing",
        f"no target is configured; looked at {', '.join(looked)} and the active profile in {config_dir(environ)}",
        hint="try everything here with `bazar local start`, or set SUPABASE_URL, SUPABASE_KEY and DATABASE_URL",
    )


def _of_file(path: Path) -> dict[str, str]:
    from bazar_cli.adapters.config.settings import variables_of_file

    try:
        return variables_of_file(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(
            "target.env_file", f"the env file {path} cannot be read: {reason}", hint="name another with --env-file"
        ) from error


def _checked_supabase(url: str, source: TargetSource, allowed: frozenset[str]) -> str:
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _invalid("SUPABASE_URL", source, "it must look like https://PROJECT.supabase.co")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _invalid("SUPABASE_URL", source, "it must not hold a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_this_machine(parts.hostname) and parts.hostname not in allowed:
        raise _plaintext("SUPABASE_URL", parts.hostname, "a plain http URL")
    return url.rstrip("/").removesuffix("/auth/v1")


def _checked_database(name: str, url: str, source: TargetSource, allowed: frozenset[str]) -> str:
    url = url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url
    parts = _split(url)
    if parts is None or parts.scheme != "postgresql":
        raise _invalid(name, source, "it must look like postgresql://USER:PASSWORD@HOST:5432/DATABASE")
    # As libpq does: of a parameter given twice the last counts, and hostaddr is where it really connects.
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    named = query.get("hostaddr") or query.get("host") or _hosts(parts)
    hosts = {unquote(host) for host in named.split(",")}
    if query.get("sslmode", "") not in _ENCRYPTED:
        for host in sorted(hosts):
            if not is_this_machine(host) and host not in allowed:
                raise _plaintext(name, host, "a database connection without sslmode=require")
    return url


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # A port that is no number; several hosts with ports are libpq's own form.
        return urlsplit(url) if "," in url and url.startswith("postgresql://") else None
    return parts


def _hosts(parts: SplitResult) -> str:
    netloc = parts.netloc.rpartition("@")[2]
    return ",".join(
        h.partition(":")[0] if not h.startswith("[") else h[1:].partition("]")[0] for h in netloc.split(",")
    )


def is_this_machine(host: str) -> bool:
    """Say whether a host is loopback or a Unix socket's folder."""
    if host in _LOOPBACK or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _described(source: TargetSource) -> str:
    return source.name if source.kind is TargetKind.ENVIRONMENT else f"{source.kind} {source.name}"


def _is_are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None


def _invalid(name: str, source: TargetSource, rule: str) -> UsageError:
    return UsageError(
        "target.url_invalid", f"{name} of {_described(source)} cannot be used: {rule}", hint=f"correct {name} there"
    )


def _plaintext(name: str, host: str, what: str) -> UsageError:
    return UsageError(
        "target.plaintext_refused",
        f"{name} would send secrets to {host} unencrypted: {what}",
        hint=f"use TLS (https, sslmode=require), or allow this host with BAZAR_ALLOW_PLAINTEXT={host}",
        details={"host": host},
    )
