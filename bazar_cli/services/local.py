"""Set up two running systems: migrations, first superuser, profile, session.

Every step first checks whether it is done already, so that running it again is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bazar_cli.domain.auth import Login
from bazar_cli.domain.db import migrations as db_use_cases
from bazar_cli.domain.db.migrations import LOCAL, Migrate
from bazar_cli.domain.errors import NotSignedIn
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.services import auth
from bazar_cli.services.db import migrate
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.gate import Gate
from bazar_cli.services.gate.identities import Identities, SignInSettings

if TYPE_CHECKING:
    from bazar_cli.domain.target import Identity


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`."""

    profile: str
    active: bool
    """The profile is the active one."""
    migrated: int
    """Revisions applied by this run."""
    signed_in: bool
    """This run signed in with the superuser's password; else the stored session was used."""


def prepare(
    profile: str,
    values: Mapping[str, str],
    environ: Mapping[str, str],
    request_id: str,
    notify: Callable[[str], None],
) -> Prepared:
    """Migrate, make SUPERUSER_EMAIL the first superuser if none exists, save the profile and sign in.

    Parameters: `values` are the target's values by their environment names, with SUPERUSER_*.
    Raises: NotSignedIn `auth.invalid_credentials` when the superuser has another password now;
    BackendUnavailable; Conflict.
    """
    from bazar_cli.adapters.config.profiles import Profiles
    from bazar_cli.adapters.config.target import direct_from

    target = direct_from(TargetSource(TargetKind.PROFILE, profile), values, environ)
    with Backends(target, request_id) as backends:
        signs_in = _stored_superuser(target, environ) is None
        if signs_in:
            _sign_in(backends, environ)
        with closing(Identities(target, SignInSettings(environ))) as identities:
            grant = Gate(backends, identities).authorize(db_use_cases.MIGRATE, Migrate())
        request = Migrate(environment=LOCAL, protected=False)
        result = migrate.migrate(backends, grant, request, notify)
    profiles = Profiles(environ)
    profiles.save(profile, values, activate=False)
    return Prepared(profile, profiles.read().active == profile, len(result.applied), signs_in)


def _stored_superuser(target: Target, environ: Mapping[str, str]) -> Identity | None:
    """Return the stored session, if Supabase still accepts it and it belongs to the superuser."""
    with closing(Identities(target, SignInSettings(environ))) as identities:
        try:
            identity = identities.confirm(identities.current())
        except NotSignedIn:
            return None
    return identity if identity.email == (target.superuser_email or "").lower() else None


def _sign_in(backends: Backends, environ: Mapping[str, str]) -> None:
    target = backends.target
    email, password = target.superuser_email, target.superuser_password
    if email is None or password is None:
        raise NotSignedIn("auth.not_signed_in", "the stack has no credentials of a superuser")
    auth.login(backends, environ, Login(email, password))
