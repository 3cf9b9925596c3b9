"""The checks that everybody may see: configuration, reachability, clocks, encryption and the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bazar_cli.domain.doctor import Check, Health
from bazar_cli.domain.entities import Pending
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, NotSignedIn
from bazar_cli.services.doctor.checks import failed, see, skipped
from bazar_cli.services.gate.gate import describe_operator

if TYPE_CHECKING:
    from bazar_cli.adapters.postgres.probe import DatabaseProbe
    from bazar_cli.adapters.supabase.probe import AuthProbe
    from bazar_cli.domain.target import Target
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.identities import Identities

REACHED = ("postgres", "supabase", "writable", "connection", "clock")
_SKEW_SECONDS = 60.0
"""Warn early: a session accepts a larger difference, but for BAZAR_TOKEN the limit is unknown."""
_NO_DIFFERENCE_SECONDS = 2.0
"""An HTTP date has whole seconds, and an answer takes time."""
_OLDEST_POSTGRES = 13


def profiles(environ: Mapping[str, str]) -> Check:
    """Read the profiles of this machine. Raises: UsageError."""
    from bazar_cli.adapters.config.profiles import Profiles

    found = Profiles(environ).read()
    names = ", ".join(f"{name} (active)" if name == found.active else name for name in sorted(found.profiles))
    return Check("profiles", Health.OK, names or "none")


def reach(target: Target) -> tuple[Check, ...]:
    """Look at both systems once; return the checks of `REACHED`."""
    from bazar_cli.adapters.postgres.probe import look_at
    from bazar_cli.adapters.supabase.probe import probe_auth

    database: DatabaseProbe | BazarError
    auth: AuthProbe | BazarError
    try:
        database = look_at(target)
    except BazarError as error:
        database = error
    try:
        auth = probe_auth(target)
    except BazarError as error:
        auth = error
    postgres = failed("postgres", database) if isinstance(database, BazarError) else _postgres(database)
    supabase = failed("supabase", auth) if isinstance(auth, BazarError) else _supabase(target, auth)
    seen = None if isinstance(database, BazarError) else database
    skew = None if isinstance(auth, BazarError) else auth.clock_skew_seconds
    return (postgres, supabase, writable(target, seen), connection(target, seen), clock(skew, seen))


def session(identities: Identities, backends: Backends) -> Check:
    """Say who is signed in, and whether the gate denies them every command. Raises: NotSignedIn; BackendUnavailable."""
    try:
        identity = identities.current()
    except NotSignedIn as error:
        if error.code == "auth.not_signed_in":
            return Check("session", Health.SKIPPED, "not signed in", error.hint)
        raise
    unconfirmed = ""
    try:
        identity = identities.confirm(identity)
    except (BackendUnavailable, Conflict):
        unconfirmed = "; Supabase Auth does not say whether the session still holds"
    operator = describe_operator(backends, identity)
    if operator is None:
        remedy = "run `bazar db migrate` if the database is new, or ask a superuser to create your user"
        return Check("session", Health.WARNING, f"{identity.email} is not a user of this Bazar", remedy)
    if not operator.is_active:
        what = "being deleted" if operator.pending is Pending.DELETE else "suspended"
        remedy = f"ask {operator.restored_by} to restore you"
        return Check("session", Health.WARNING, f"{operator.email} is {what}: every command is denied", remedy)
    role = ", superuser" if operator.is_superuser else ""
    who = f"{operator.email}, plan {operator.plan.value}{role}, from {identity.source}"
    return Check("session", Health.OK, f"{who}{unconfirmed}")


def _postgres(found: DatabaseProbe) -> Check:
    place = found.place
    where = f"PostgreSQL {place.server_version} at {place.host}, database {place.database}"
    major = int(place.server_version.partition(".")[0] or 0)
    if major < _OLDEST_POSTGRES:
        return Check("postgres", Health.FAILED, where, f"bazar needs PostgreSQL {_OLDEST_POSTGRES} or later")
    return Check("postgres", Health.OK, where)


def _supabase(target: Target, found: AuthProbe) -> Check:
    where = f"Supabase Auth {found.version} at {target.supabase_url}".replace("  ", " ")
    if not found.key_accepted:
        remedy = "set SUPABASE_KEY to the service key (sb_secret_... or the service_role JWT) of this project"
        return Check("supabase", Health.FAILED, f"{where} refuses the service key", remedy)
    return Check("supabase", Health.OK, where)


def writable(target: Target, database: DatabaseProbe | None) -> Check:
    """Whether the database takes writes: not a standby, nor one that an administrator or a full disk made read-only."""
    if database is None:
        return see("postgres", ("writable",))[0]
    found = database.read_only
    if found is None:
        return Check("writable", Health.OK, "the database takes writes")
    said = f"the database takes no writes: {found.text}"
    return Check("writable", Health.WARNING, said, found.remedy(target.database_variable))


def connection(target: Target, database: DatabaseProbe | None) -> Check:
    """Whether secrets travel unencrypted: only to a host that BAZAR_ALLOW_PLAINTEXT names, or it was refused."""
    from bazar_cli.adapters.config.checks import plaintext_database_hosts, plaintext_web_host

    plain: list[str] = []
    host = plaintext_web_host(target.supabase_url)
    if host:
        plain.append(f"Supabase at {host} (http)")
    if database is not None and database.plaintext:
        plain.append(f"Postgres at {database.place.host}")
    if target.migration_url is not None:
        hosts = ", ".join(plaintext_database_hosts(target.migration_url))
        # It is not opened here: without sslmode=require the server chooses whether to encrypt.
        plain += [f"migrations at {hosts} (DATABASE_MIGRATION_URL without sslmode=require)"] if hosts else []
    if plain:
        return Check(
            "connection",
            Health.WARNING,
            f"not encrypted: {', '.join(plain)}; keys and passwords can be read on the way",
            "use https and sslmode=require and take the host out of BAZAR_ALLOW_PLAINTEXT, which allows it; right only "
            "for a private network, such as that of a compose file or a CI service",
        )
    if database is None:
        return see("postgres", ("connection",))[0]
    return Check("connection", Health.OK, "both are encrypted, or do not leave this machine")


def clock(auth: float | None, database: DatabaseProbe | None) -> Check:
    """How far this machine's clock is from the token issuer's and from the database's."""
    from bazar_cli.adapters.supabase.tokens import SKEW_SECONDS

    parts: list[str] = []
    if auth is not None:
        parts.append(f"{_apart(auth)} Supabase Auth's")
    if database is not None:
        parts.append(f"{_apart(database.clock_skew_seconds)} the database's")
    if not parts:
        return skipped(("clock",), "neither system shows its time")[0]
    measured = f"this machine's clock is {' and '.join(parts)}"
    limits = f"a warning from {_SKEW_SECONDS:.0f} s on; sessions work up to {SKEW_SECONDS} s from Supabase Auth"
    if auth is not None and abs(auth) > SKEW_SECONDS:
        return Check("clock", Health.FAILED, f"{measured}: tokens are refused ({limits})", "set the clock (NTP)")
    if auth is not None and abs(auth) > _SKEW_SECONDS:
        return Check("clock", Health.WARNING, f"{measured} ({limits})", "set the clock (NTP)")
    if database is not None and abs(database.clock_skew_seconds) > _SKEW_SECONDS:
        why = "leases, bans, the audit log and --created-since go by the database's"
        return Check("clock", Health.WARNING, f"{measured}: {why} ({limits})", "set the clock (NTP)")
    return Check("clock", Health.OK, f"{measured} ({limits})")


def _apart(seconds: float) -> str:
    if abs(seconds) < _NO_DIFFERENCE_SECONDS:
        return f"within {_NO_DIFFERENCE_SECONDS:.0f} s of"
    return f"{abs(seconds):.0f} s {'behind' if seconds < 0 else 'ahead of'}"
