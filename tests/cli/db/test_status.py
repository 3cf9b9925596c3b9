"""`bazar db status`: the revision, what is pending, and `--check` for scripts."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
import yaml

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.target import Target
from tests.cli.db.conftest import On, has_schema, marker_of, schema_of
from tests.support.cli import Bazar
from tests.support.release import Release

ALL = [r.id for r in revisions(script_location())]
FIELDS = [
    *("host", "database", "server_version", "marker"),
    *("current", "head", "applied", "pending", "unknown_revision", "changed", "read_only"),
]
Databases = Callable[..., str]


@pytest.mark.live
def test_at_head(admin: Bazar, target: Target) -> None:
    done = admin("db", "status", "--check", "-o", "json").ok()
    status = done.json
    assert list(status) == FIELDS
    assert (status["current"], status["head"]) == (ALL[-1], ALL[-1])
    assert [r["revision"] for r in status["applied"]] == ALL
    assert (status["pending"], status["unknown_revision"], status["changed"]) == ([], False, [])
    assert status["read_only"] is None
    environment, protected = marker_of(target.database_url.reveal())
    assert status["marker"] == {"environment": environment, "protected": protected}
    assert done.err == ""
    assert yaml.safe_load(admin("db", "status", "-o", "yaml").ok().out) == status
    table = admin("db", "status").ok().out
    assert f"marker\t{environment}, {'protected' if protected else 'unprotected'}\n" in table
    assert f"current\t{ALL[-1]}\n" in table


@pytest.fixture
def empty(known: On, fresh_database: Databases) -> tuple[Bazar, str]:
    """`bazar` as a first superuser whom Supabase knows, and the empty database that waits for them."""
    url = fresh_database()
    return known(url), url


def test_pending_is_a_finding_for_check_only(empty: tuple[Bazar, str]) -> None:
    bazar, url = empty
    done = bazar("db", "status", "--check", "--no-input", "-o", "json")
    assert done.code == 9
    assert (done.json["current"], done.json["marker"], done.json["applied"]) == (None, None, [])
    assert [r["revision"] for r in done.json["pending"]] == ALL
    assert list(done.json["pending"][0]) == ["revision", "message", "transactional", "destructive"]
    assert {r["destructive"] for r in done.json["pending"]} == {False}
    assert "bazar db migrate" in done.err
    assert not has_schema(url)
    assert bazar("db", "status", "--check", "--quiet").code == 9
    plain = bazar("db", "status").ok()
    assert "marker\tno marker\n" in plain.out
    assert plain.err == ""
    bazar("db", "migrate").ok()
    bazar("db", "status", "--check").ok()


def test_other_commands_say_that_nothing_is_migrated(empty: tuple[Bazar, str]) -> None:
    done = empty[0]("users", "list", "-o", "json")
    assert (done.code, done.out, done.error["code"]) == (6, "", "db.not_migrated")
    assert "bazar db migrate" in done.error["hint"]


def test_wrong_password_of_the_superuser(empty: tuple[Bazar, str]) -> None:
    done = empty[0].having(SUPERUSER_PASSWORD="not-the-one")("db", "status", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "auth.invalid_credentials")
    assert "not-the-one" not in done.err


@pytest.mark.parametrize("stored_by_bytes", [False, True])
def test_applied_revisions_of_a_checkout_with_other_line_ends(
    known: On, fresh_database: Databases, tmp_path: Path, stored_by_bytes: bool
) -> None:
    url = fresh_database(migrated=True)
    bazar, release = known(url), Release(tmp_path / "release")
    for path in (release.migrations / "versions").glob("*.py"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        if stored_by_bytes:
            with psycopg.connect(url) as connection:
                connection.execute(
                    "UPDATE bazar.migration_log SET checksum = %s WHERE revision = %s AND checksum IS NOT NULL",
                    (sha256(path.read_bytes()).hexdigest(), path.name[:4]),
                )

    status = release.on(bazar)("db", "status", "--check", "-o", "json").ok()
    bazar("db", "status", "--check").ok()

    assert (status.json["changed"], status.json["pending"]) == ([], [])
    assert release.on(bazar)("db", "migrate", "-o", "json").ok().json["applied"] == []


def test_applied_revision_with_another_file(known: On, fresh_database: Databases, tmp_path: Path) -> None:
    url = fresh_database()
    bazar, release = known(url), Release(tmp_path / "release")
    release.on(bazar)("db", "migrate").ok()
    before = schema_of(url)
    path = release.file(ALL[0])
    path.write_bytes(path.read_bytes() + b"\n# One byte more is another file.\n")

    edited = release.on(bazar)
    shown = edited("db", "status", "-o", "json").ok()
    checked = edited("db", "status", "--check", "-o", "json")
    migrated = edited("db", "migrate", "-o", "json")

    (changed,) = shown.json["changed"]
    assert (changed["revision"], changed["checksum"]) == (ALL[0], sha256(path.read_bytes()).hexdigest())
    assert changed["applied_checksum"] != changed["checksum"]
    assert f"other files now than when they were applied: {ALL[0]}" in shown.err
    for refused in (checked, migrated):
        assert (refused.code, refused.error["code"]) == (6, "db.revision_changed")
        assert [c["revision"] for c in refused.error["details"]["changed"]] == [ALL[0]]
    assert (checked.json["changed"], migrated.out) == ([changed], "")
    assert schema_of(url) == before
    bazar("db", "status", "--check").ok()
