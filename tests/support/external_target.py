"""A target that the suite does not own: named by three variables, made ready once, left as it was found.

Nothing of such a target is dropped, emptied or cloned. What the tests write there carries the name of the run,
and what carries that name is removed when the run ends; audit events stay, as they do for everybody.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import httpx
import psycopg
import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support.cli import Bazar
from tests.support.people import RUN, People, an_address

VARIABLES = ("BAZAR_TEST_SUPABASE_URL", "BAZAR_TEST_SUPABASE_KEY", "BAZAR_TEST_DATABASE_URL")


def named_target() -> Target | None:
    """Return the target of the three variables, or None if they are not set.

    Raises: pytest.UsageError when only some are, so that no run takes the embedded stack by mistake.
    """
    url, key, database = (os.environ.get(name, "") for name in VARIABLES)
    if not (url or key or database):
        return None
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise pytest.UsageError(f"another target needs all of {', '.join(VARIABLES)}; missing: {', '.join(missing)}")
    return Target(TargetSource(TargetKind.ENVIRONMENT, "environment"), url.rstrip("/"), Secret(key), Secret(database))


def make_ready(target: Target) -> None:
    """Migrate a database without tables, with a first superuser of this run; change no other.

    Raises: pytest.UsageError when the target does not answer, or its tables are not those of this checkout.
    """
    head = revisions(script_location())[-1].id
    try:
        with People(target) as people:
            people.identities_like(RUN)
            current = _revision(people)
    except (psycopg.OperationalError, httpx.HTTPError) as error:
        raise pytest.UsageError(f"the target of {', '.join(VARIABLES)} cannot be used: {error}") from error
    if current == head:
        return
    if current is not None:
        raise pytest.UsageError(f"{VARIABLES[2]} is at revision {current}, not {head}: `bazar db migrate` it first")
    first = {"SUPERUSER_EMAIL": an_address("first"), "SUPERUSER_PASSWORD": secrets.token_urlsafe(24)}
    with tempfile.TemporaryDirectory(prefix="bazar-") as home:
        bazar = Bazar(Path(home)).on(target).having(**first)
        done = bazar("db", "migrate", "--env", "test", "--unprotected", "--no-input")
    if done.code:
        clean(target)
        raise pytest.UsageError(f"{VARIABLES[2]} could not be migrated: {done.err}")


def _revision(people: People) -> str | None:
    """Return the revision of the target's tables, or None without tables."""
    (found,) = people.sql("SELECT to_regclass('bazar.alembic_version') IS NOT NULL AS yes")
    return people.sql("SELECT version_num FROM bazar.alembic_version")[0]["version_num"] if found["yes"] else None


def clean(target: Target) -> None:
    """Remove the users, organizations and identities of this run from both systems."""
    with People(target) as people:
        if _revision(people) is not None:
            theirs = f"%@%{RUN}%"
            people.sql(
                "DELETE FROM bazar.organizations WHERE slug LIKE %s OR id IN (SELECT organization_id"
                " FROM bazar.memberships m JOIN bazar.users u ON u.id = m.user_id WHERE u.email LIKE %s)",
                f"org-{RUN}-%",
                theirs,
            )
            people.sql("DELETE FROM bazar.users WHERE email LIKE %s", theirs)
        while found := people.identities_like(RUN):
            for identity in found:
                people.auth("DELETE", f"/admin/users/{identity['id']}").raise_for_status()
