"""The doctor's public part: configuration and reachability, one check after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bazar_cli.domain.doctor import Check, Diagnosis, Health
from bazar_cli.domain.errors import BazarError, NotSignedIn
from bazar_cli.services import config
from bazar_cli.services.access import describe_operator
from bazar_cli.services.identity import Identities, SignInSettings
from bazar_cli.services.system import System

if TYPE_CHECKING:
    from bazar_cli.adapters.config.target import TargetChoice
    from bazar_cli.domain.target import Target

_SKEW_SECONDS = 60.0
"""A stored session bears 300 s; of BAZAR_TOKEN no end was measured, so it is refused late, or looked at twice."""
_OLDEST_POSTGRES = 13


def examine(
    choice: TargetChoice, environ: Mapping[str, str], cwd: Path, sign_in: SignInSettings, request_id: str
) -> Diagnosis:
    """Look at the configuration, then at both systems and the session; every problem is one finding.

    Raises nothing of its own: what a check raises is what it found.
    """
    profiles = _checked("profiles", lambda: _profiles(environ))
    try:
        target = config.target_of(choice, environ, cwd)
    except BazarError as error:
        skipped = tuple(
            Check(name, Health.SKIPPED, "there is no target to ask") for name in ("postgres", "supabase", "session")
        )
        return Diagnosis((profiles, _finding("target", error), *skipped))
    found = Check("target", Health.OK, f"{target.supabase_url}, from {config.origin(target.source)}")
    postgres = _checked("postgres", lambda: _postgres(target))
    supabase = _checked("supabase", lambda: _supabase(target))
    session = _checked("session", lambda: _session(target, sign_in, request_id))
    return Diagnosis((profiles, found, postgres, supabase, session))


def _checked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except BazarError as error:
        return _finding(name, error)


def _finding(name: str, error: BazarError) -> Check:
    return Check(name, Health.FAILED, error.message, error.hint)


def _profiles(environ: Mapping[str, str]) -> Check:
    found = config.profiles(environ)
    active = next((p.name for p in found if p.active), None)
    names = ", ".join(f"{p.name} (active)" if p.name == active else p.name for p in found)
    return Check("profiles", Health.OK, names or "none")


def _postgres(target: Target) -> Check:
    from bazar_cli.adapters.postgres.probe import probe

    place = probe(target)
    where = f"PostgreSQL {place.server_version} at {place.host}, database {place.database}"
    major = int(place.server_version.partition(".")[0] or 0)
    if major < _OLDEST_POSTGRES:
        return Check("postgres", Health.FAILED, where, f"bazar needs PostgreSQL {_OLDEST_POSTGRES} or later")
    return Check("postgres", Health.OK, where)


def _supabase(target: Target) -> Check:
    from bazar_cli.adapters.supabase.probe import probe_auth

    found = probe_auth(target)
    where = f"Supabase Auth {found.version} at {target.supabase_url}".replace("  ", " ")
    if not found.key_accepted:
        remedy = "set SUPABASE_KEY to the service key (sb_secret_... or the service_role JWT) of this project"
        return Check("supabase", Health.FAILED, f"{where} refuses the service key", remedy)
    skew = found.clock_skew_seconds
    if skew is not None and abs(skew) > _SKEW_SECONDS:
        late = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        return Check("supabase", Health.WARNING, f"{where}; this machine's clock is {late}", "set the clock (NTP)")
    return Check("supabase", Health.OK, where)


def _session(target: Target, sign_in: SignInSettings, request_id: str) -> Check:
    try:
        identity = Identities(target, sign_in).current()
    except NotSignedIn as error:
        if error.code == "auth.not_signed_in":
            return Check("session", Health.SKIPPED, "nobody is signed in", error.hint)
        raise
    with System(target, request_id) as system:
        operator = describe_operator(system, identity)
    if operator is None:
        remedy = "run `bazar db migrate` where the database is new, else ask a superuser to take you in"
        return Check("session", Health.WARNING, f"{identity.email} is no user of this Bazar", remedy)
    role = ", superuser" if operator.is_superuser else ""
    return Check("session", Health.OK, f"{operator.email}, plan {operator.plan.value}{role}, from {identity.source}")
