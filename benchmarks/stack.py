"""What the measured commands speak to: a scratch Postgres, the embedded Auth service, a signed-in operator."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from bazar_cli.services.config import add_profile
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.people import People
from tests.support.postgres import TEMPLATE, ScratchPostgres, scratch_database

_KEPT = ("PATH", "LANG", "TMPDIR")
_PROFILE = "bench"
BAZAR = Path(sys.executable).with_name("bazar")
"""The console script beside this Python."""


@dataclass(frozen=True)
class EmbeddedStack:
    """Where commands run, and with which environment; nothing else of this process reaches them."""

    folder: Path
    """An empty working folder: no env file lies in it."""
    email: str
    """The operator, a superuser on Premium, who also is the user that is looked up."""
    target: Target
    key_file: Path
    """Where bazar keeps the key set of the Auth service, already filled."""
    plain: Mapping[str, str]
    """The environment without a target."""
    from_environment: Mapping[str, str]
    """The target and the access token in environment variables."""
    from_profile: Mapping[str, str]
    """The access token in BAZAR_TOKEN, the target in the active profile."""

    @property
    def database_url(self) -> str:
        """Where the database is."""
        return self.target.database_url.reveal()

    def as_admin_of(self, slug: str) -> Mapping[str, str]:
        """The environment of an admin of an organization, made for it, with the target in the active profile."""
        with People(self.target) as people:
            someone = people.user(plan=Plan.PREMIUM)
            people.sql(
                "INSERT INTO bazar.memberships SELECT id, %s, 'admin' FROM bazar.organizations WHERE slug = %s",
                someone.id,
                slug,
            )
            people.identity(someone)
            return {**self.from_profile, "BAZAR_TOKEN": people.access_token(someone)}


@contextmanager
def embedded_stack() -> Generator[EmbeddedStack]:
    """Lend a migrated database, an Auth service and a signed-in superuser for the block."""
    server = ScratchPostgres()
    keys = generate_keys()
    try:
        with (
            scratch_database(server.start(), TEMPLATE) as database_url,
            running_auth_service(environment_of(keys, database_url)) as auth_url,
            tempfile.TemporaryDirectory(prefix="bazar-bench-") as home,
        ):
            source = TargetSource(TargetKind.ENVIRONMENT, "environment")
            yield _set(Target(source, auth_url, Secret(keys.secret_key), Secret(database_url)), Path(home))
    finally:
        server.stop()


def _set(target: Target, home: Path) -> EmbeddedStack:
    with People(target) as people:
        operator = people.user(plan=Plan.PREMIUM, superuser=True, name="Ada Lovelace")
        people.identity(operator)
        token = people.access_token(operator)
    folder, data = home / "work", home / "data"
    folder.mkdir()
    plain = {name: os.environ[name] for name in _KEPT if name in os.environ}
    plain |= {"HOME": str(home), "BAZAR_CONFIG_DIR": str(home / "config"), "BAZAR_DATA_DIR": str(data)}
    values = {
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_KEY": target.supabase_key.reveal(),
        "DATABASE_URL": target.database_url.reveal(),
    }
    add_profile(plain, _PROFILE, values, activate=True)
    signed_in = {**plain, "BAZAR_TOKEN": token}
    return EmbeddedStack(
        folder=folder,
        email=operator.email,
        target=target,
        key_file=_warm_key_file(data / "cache", folder, signed_in),
        plain=plain,
        from_environment={**signed_in, **values},
        from_profile=signed_in,
    )


def _warm_key_file(cache: Path, folder: Path, environ: Mapping[str, str]) -> Path:
    subprocess.run([BAZAR, "users", "me"], cwd=folder, env=environ, stdout=subprocess.DEVNULL, check=True)
    (found,) = cache.glob("jwks-*.json")
    return found
