"""`db reset` from another revision than the head: the tables are dropped and made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bazar_cli.adapters.migrations import migrator
from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.reset.owned import names_made_by, owned_objects
from bazar_cli.adapters.migrations.revision_files import paths, script_location
from bazar_cli.domain.db.migrations import LostTable, Migrate
from bazar_cli.domain.db.reset import RESET, DatabaseReset, ResetDatabase
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import Conflict, Refused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.db.reset import reset
from tests.services.db.reset.support import ALL, HEAD, after_preview, behind, by_bootstrap, refused, run, url_of
from tests.support.people import People, granted
from tests.support.postgres import name_of
from tests.support.release import ADDED, NEXT, Release
from tests.support.supabase_shape import dump, make_roles

Databases = Callable[..., str]


def test_marker_operator_and_log_are_carried_over_to_new_tables(alone: People) -> None:
    behind(alone)
    marker, log = (
        alone.sql("SELECT * FROM bazar.deployment"),
        alone.sql("SELECT * FROM bazar.migration_log ORDER BY id"),
    )
    ruler = alone.user(name="Ada", plan=Plan.PREMIUM, superuser=True)
    alone.sql("UPDATE bazar.users SET origin = 'adopted', created_at = '2020-01-01', pending = 'email'")
    alone.superuser()
    before = alone.row(ruler)
    assert before is not None

    done = run(alone, ruler)

    assert alone.sql("SELECT * FROM bazar.deployment") == marker
    (after,) = alone.sql("SELECT * FROM bazar.users")
    assert after == {**before, "pending": None, "updated_at": after["updated_at"]}
    later = alone.sql("SELECT * FROM bazar.migration_log ORDER BY id")
    assert [{**row, "id": 0} for row in later[: len(log)]] == [{**row, "id": 0} for row in log]
    assert [row["revision"] for row in later[len(log) :]] == ALL
    assert all(row["checksum"] and row["operator_email"] == ruler.email for row in later[len(log) :])
    assert [a.revision.id for a in done.applied] == ALL
    (event,) = alone.sql("SELECT * FROM bazar.audit_events")
    assert (event["before"]["revision"], event["after"]["revision"]) == (ALL[-2], HEAD)
    assert event["before"]["tables"]["bazar.users"] == 3


@pytest.mark.parametrize("revision", ALL[:-1])
def test_from_every_earlier_revision(fresh_database: Databases, target: Target, alone: People, revision: str) -> None:
    url = fresh_database()
    old = replace(target, database_url=Secret(url))
    Migrator(old).migrate(Migrate(revision, environment="tests", protected=False), lambda _text: None)
    with People(old) as people:
        ruler = people.superuser()
        done = run(people, ruler)
        assert (done.previous, done.current) == (revision, HEAD)
        assert people.sql("SELECT environment FROM bazar.deployment") == [{"environment": "tests"}]
        assert people.operator(ruler).is_superuser
    schema = ("--schema=bazar", "--schema-only")
    assert dump(url, *schema) == dump(url_of(alone), *schema)


@pytest.mark.parametrize("change", ["revision", "view"])
def test_tables_that_the_operator_saw_emptied_are_not_dropped(
    alone: People, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    ruler = alone.superuser()
    after_preview(
        monkeypatch, lambda: behind(alone) if change == "revision" else alone.sql("DROP VIEW bazar.operators")
    )
    with pytest.raises(Conflict) as error:
        run(alone, ruler)
    assert error.value.code == "db.moved"
    assert alone.row(ruler) is not None


DAMAGE = [
    "DROP VIEW bazar.operators",
    "DROP TABLE bazar.memberships CASCADE",
    "DROP TABLE bazar.audit_unsealed CASCADE",
    "DROP FUNCTION bazar.seal_audit CASCADE",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_head_is_made_again_by_its_superuser(alone: People, damage: str) -> None:
    ruler = alone.superuser()
    alone.superuser()
    schema = dump(url_of(alone), "--schema=bazar", "--schema-only")
    # Without the view of operators the gate grants by bootstrap.
    grant = by_bootstrap(ruler) if "audit" not in damage else granted(alone.operator(ruler), RESET)
    alone.sql(damage)

    alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))

    assert alone.sql("SELECT id, is_superuser FROM bazar.users") == [{"id": ruler.id, "is_superuser": True}]
    if "seal_audit" not in damage:
        assert dump(url_of(alone), "--schema=bazar", "--schema-only") == schema


# -- other releases --------------------------------------------------------------------------------------------


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release whose revisions this process uses, for the test to add to and to edit."""
    checkout = Release(tmp_path / "release")
    monkeypatch.setattr(migrator, "script_location", lambda: checkout.migrations)
    return checkout


def migrate(people: People) -> None:
    Migrator(people.target).migrate(Migrate(), lambda _text: None)


def test_from_a_revision_that_this_release_does_not_have(
    alone: People, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruler, told = alone.superuser(), list[str]()
    schema = dump(url_of(alone), "--schema=bazar", "--schema-only")
    release.add(NEXT, "op.execute('CREATE TABLE bazar.extra (user_id uuid REFERENCES bazar.users)')")
    migrate(alone)
    make_roles(url_of(alone))
    alone.sql("INSERT INTO bazar.extra SELECT id FROM bazar.users")
    alone.sql("CREATE TABLE bazar.theirs ()")
    alone.sql("ALTER TABLE bazar.theirs OWNER TO bazar_test_owner")
    newer = migrator.script_location
    monkeypatch.setattr(migrator, "script_location", script_location)

    with refused(alone, Refused, "db.confirm_mismatch") as error:
        alone.run(ruler, reset, RESET, ResetDatabase())
    assert "Other files than those of this release migrated the database" in error.message
    assert "is dropped too: bazar.extra." in error.message

    request = ResetDatabase(confirm=name_of(url_of(alone)))
    done = alone.run(ruler, lambda backends, grant, asked: reset(backends, grant, asked, told.append), RESET, request)

    assert isinstance(done, DatabaseReset)
    assert any(text.startswith(f"warning: the database is at revision {NEXT}") for text in told)
    assert (done.previous, done.current, done.strangers) == (NEXT, HEAD, ("bazar.theirs",))
    assert LostTable("bazar.extra", 1) in done.tables
    alone.sql("DROP TABLE bazar.theirs")
    assert dump(url_of(alone), "--schema=bazar", "--schema-only") == schema
    monkeypatch.setattr(migrator, "script_location", newer)
    migrate(alone)


def test_error_raised_by_a_revision_stops_the_reset(alone: People, release: Release) -> None:
    ruler = alone.superuser()
    release.add(NEXT, "raise KeyError('boom')")
    with refused(alone, Conflict, "db.revision_failed") as error:
        run(alone, ruler)
    assert error.message == f"revision {NEXT} failed, and nothing was done: KeyError: 'boom'"


def test_from_an_edited_revision_past_one_that_fails(alone: People, release: Release) -> None:
    ruler = alone.superuser()
    path = release.add(NEXT, "op.execute('CREATE TABLE bazar.extra (id int)')")
    migrate(alone)
    release.rewrite(path, "bazar.extra (id int)", "bazar.other AS SELECT 1 / 0 AS id")
    assert release.revisions == [*ALL, NEXT]
    with refused(alone, Conflict, "db.revision_failed") as error:
        run(alone, ruler)
    assert (error.details["revision"], "nothing was done" in error.message) == (NEXT, True)
    release.rewrite(path, "1 / 0", "1 / 1")
    assert release.revisions == [*ALL, NEXT]
    assert run(alone, ruler).current == NEXT
    there = "SELECT to_regclass('bazar.extra') IS NULL AS extra, to_regclass('bazar.other') IS NULL AS other"
    assert alone.sql(there) == [{"extra": True, "other": False}]
    assert not Migrator(alone.target).status().changed


def test_revision_without_a_transaction_runs_after_the_reset(alone: People, release: Release) -> None:
    ruler = alone.superuser()
    alone.sql("UPDATE bazar.deployment SET environment = 'tests'")
    release.add_concurrent(NEXT, "users_name_idx")
    path = release.add(ADDED[1], "op.execute('CREATE TABLE bazar.extra AS SELECT 1 / 0 AS id')")

    with pytest.raises(Conflict) as failed:
        run(alone, ruler)

    assert (failed.value.code, failed.value.details["applied"]) == ("db.revision_failed", [*ALL, NEXT])
    assert Migrator(alone.target).status().current == NEXT
    assert alone.sql("SELECT environment, protected FROM bazar.deployment") == [
        {"environment": "tests", "protected": False}
    ]
    assert alone.row(ruler) is not None
    release.rewrite(path, "1 / 0", "1 / 1")
    migrate(alone)
    assert run(alone, ruler).in_place
    assert alone.sql("SELECT use_case FROM bazar.audit_events") == [{"use_case": "db.reset"}]


def test_every_object_of_every_revision_is_known(alone: People) -> None:
    """Every object that revisions make is found in their SQL; another one would never be dropped."""
    with psycopg.connect(url_of(alone)) as connection:
        made = names_made_by(paths(script_location()).values())
        found = owned_objects(connection, made, by_other_files=False)
    assert (found.foreign, found.missing) == ((), ())
    assert len(found.objects) == 19
