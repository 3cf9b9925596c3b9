"""`db reset`: what goes, what stays, and what is put back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bazar_cli.adapters.migrations import runner, session
from bazar_cli.adapters.migrations.location import revisions, script_location
from bazar_cli.adapters.migrations.reset import rebuild
from bazar_cli.adapters.migrations.reset.owned import owned_in
from bazar_cli.adapters.migrations.runner import Migrator
from bazar_cli.adapters.supabase import admin
from bazar_cli.domain.authz.policy import decide_bootstrap
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.consent import Impact
from bazar_cli.domain.db.migrations import LostTable, Migrate, MigrationStatus
from bazar_cli.domain.db.reset import RESET, DatabaseReset, ResetDatabase, ResetPlan
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Refused
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from bazar_cli.services.db.reset import reset
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.people import REQUEST_ID, People, Someone, an_address, an_identity, granted
from tests.support.postgres import name_of
from tests.support.release import ADDED, NEXT, Release
from tests.support.supabase_shape import dump, make_roles, shape

Databases = Callable[..., str]
ALL = [r.id for r in revisions(script_location())]
HEAD = ALL[-1]


def url_of(people: People) -> str:
    return people.target.database_url.reveal()


def run(people: People, operator: Someone, *, dry_run: bool = False, **asked: Any) -> DatabaseReset:
    request = ResetDatabase(confirm=name_of(url_of(people)), **asked)
    done = people.run(operator, reset, RESET, request, dry_run=dry_run)
    assert not isinstance(done, Impact)
    return done


@contextmanager
def refused(people: People, kind: type[BazarError], code: str) -> Generator[BazarError]:
    """Expect this error, and a database that nothing was done to."""
    before, caught = dump(url_of(people)), BazarError("", "")
    with pytest.raises(kind) as error:
        yield caught
    assert error.value.code == code, error.value
    caught.message, caught.hint, caught.details = error.value.message, error.value.hint, error.value.details
    assert dump(url_of(people)) == before


def test_nothing_of_a_supabase_project_is_lost(alone: People) -> None:
    url, ruler = url_of(alone), alone.superuser()
    alone.org()
    shape(url)
    alone.sql("INSERT INTO public.files VALUES (1, %s, 'plus'), (2, NULL, NULL)", ruler.id)
    seen = ("--exclude-table-data=bazar.*", "--exclude-table-data=auth.per_plan")
    before, theirs = dump(url, *seen), alone.sql('SELECT * FROM bazar."Their table"')

    done = run(alone, ruler)

    assert dump(url, *seen) == before
    assert alone.sql('SELECT * FROM bazar."Their table"') == theirs
    assert done.strangers == ('bazar."Their table"', "bazar.mood", "bazar.theirs()")
    assert {one.split(" of ")[0] for one in done.dependents} >= {
        "foreign key untried",
        "foreign key files_plan_fkey",
        "materialized view auth.per_plan",
        "view public.a_count",
        'policy "reads all"',
        'rule "keeps all"',
        'statistics storage."Names"',
        "statistics auth.of_plans",
        "trigger keeps_all",
        "publication bazar_test_changes with bazar.users",
    }
    assert alone.sql("SELECT n FROM auth.per_plan WHERE name = 'free'") == [{"n": 1}]
    alone.sql("CREATE TABLE public.later (id int)")
    (later,) = alone.sql(
        "SELECT has_table_privilege('anon', 'public.later', 'SELECT') AS reads,"
        " has_table_privilege('bazar_test_reader', 'public.later', 'SELECT') AS others"
    )
    assert later == {"reads": True, "others": False}


def test_marker_operator_and_log_are_carried_over(alone: People) -> None:
    alone.sql("UPDATE bazar.deployment SET environment = 'tests'")
    marker, log = (
        alone.sql("SELECT * FROM bazar.deployment"),
        alone.sql("SELECT * FROM bazar.migration_log ORDER BY id"),
    )
    ruler = alone.user(name="Ada", plan=Plan.PREMIUM, superuser=True)
    alone.sql("UPDATE bazar.users SET origin = 'adopted', created_at = '2020-01-01', pending = 'email'")
    alone.superuser()
    alone.org()
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
    assert (event["use_case"], event["operator_id"]) == ("db.reset", ruler.id)
    assert event["before"]["tables"]["bazar.users"] == 2
    assert event["before"]["revision"] == event["after"]["revision"] == HEAD
    assert alone.sql("SELECT count(*) AS n FROM bazar.organizations") == [{"n": 0}]


def test_audit_log_that_goes_is_sealed_and_named(alone: People) -> None:
    ruler = alone.superuser()
    run(alone, ruler)
    done = run(alone, ruler)
    (event,) = alone.sql("SELECT before FROM bazar.audit_events")
    assert done.audit is not None
    assert event["before"]["audit"] == {"events": 1, "head": done.audit.head}
    assert done.audit.head is not None


def test_dry_run_writes_nothing(alone: People) -> None:
    ruler = alone.superuser()
    shape(url_of(alone))
    before = dump(url_of(alone))
    done = run(alone, ruler, dry_run=True)
    assert (done.applied, [r.id for r in done.pending], done.current) == ((), ALL, HEAD)
    assert "bazar.users" in [table.name for table in done.tables]
    assert "view public.members" in done.dependents
    assert dump(url_of(alone)) == before


def test_rows_that_would_refer_to_nothing_keep_the_tables(alone: People) -> None:
    ruler, other = alone.superuser(), alone.user()
    alone.sql("CREATE TABLE public.files (owner_id uuid REFERENCES bazar.users)")
    alone.sql("INSERT INTO public.files VALUES (%s), (%s)", ruler.id, other.id)
    with refused(alone, Conflict, "db.rows_refer") as error:
        run(alone, ruler)
    assert error.details == {
        "dependent": "foreign key files_owner_id_fkey of public.files",
        "rows": 1,
        "values": [str(other.id)],
    }
    with refused(alone, Conflict, "db.rows_refer"):
        run(alone, ruler, dry_run=True)
    alone.sql("DELETE FROM public.files WHERE owner_id = %s", other.id)
    run(alone, ruler)
    assert alone.sql("SELECT owner_id FROM public.files") == [{"owner_id": ruler.id}]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "CREATE FUNCTION public.f(u bazar.users) RETURNS text LANGUAGE sql AS 'SELECT ($1).email'",
            "function public.f(bazar.users) depends on type bazar.users",
        ),
        ("CREATE TABLE public.t (u bazar.users)", "column u of table public.t depends on type bazar.users"),
        ("CREATE TABLE public.t (u bazar.users[])", "column u of table public.t depends on type bazar.users[]"),
        ("CREATE TABLE public.t () INHERITS (bazar.users)", "table public.t depends on table bazar.users"),
        (
            "CREATE VIEW public.v AS SELECT email FROM bazar.users; CREATE TABLE public.t (v public.v)",
            "column v of table public.t depends on type public.v",
        ),
        (
            "CREATE TABLE public.t (n bigint DEFAULT bazar.seal_audit(1))",
            "default value for column n of table public.t depends on function bazar.seal_audit(integer)",
        ),
    ],
)
def test_what_cannot_be_put_back_keeps_the_tables_and_is_named_alone(alone: People, statement: str, named: str) -> None:
    ruler = alone.superuser()
    alone.sql("CREATE TRIGGER theirs BEFORE DELETE ON bazar.users EXECUTE FUNCTION bazar.audit_refuse_change()")
    for part in statement.split("; "):
        alone.sql(part)
    with refused(alone, Conflict, "db.needed_by_others") as error:
        run(alone, ruler, dry_run=True)
    assert error.details == {"dependents": [named]}
    with refused(alone, Conflict, "db.needed_by_others"):
        run(alone, ruler)


def test_views_whose_rules_refer_to_each_other_are_put_back(alone: People) -> None:
    ruler = alone.superuser()
    for statement in (
        "CREATE VIEW public.a AS SELECT id, email FROM bazar.users",
        "CREATE VIEW public.b AS SELECT id, email FROM public.a",
        "CREATE RULE to_b AS ON INSERT TO public.a DO INSTEAD INSERT INTO public.b VALUES (new.id, new.email)",
        'CREATE RULE "to a" AS ON DELETE TO public.b DO INSTEAD DELETE FROM public.a WHERE a.id = old.id',
        "COMMENT ON RULE to_b ON public.a IS 'in a circle'",
    ):
        alone.sql(statement)
    seen = ("--exclude-table-data=bazar.*",)
    before = dump(url_of(alone), *seen)
    done = run(alone, ruler)
    assert dump(url_of(alone), *seen) == before
    assert {'rule "to a" of public.b', "rule to_b of public.a", "view public.a", "view public.b"} <= {*done.dependents}


def test_views_that_select_from_each_other_keep_the_tables_and_are_named_alone(alone: People) -> None:
    ruler = alone.superuser()
    for statement in (
        "CREATE VIEW public.below AS SELECT email FROM bazar.users",
        "CREATE VIEW public.a AS SELECT email FROM public.below",
        "CREATE MATERIALIZED VIEW public.m AS SELECT email FROM public.a",
        'CREATE VIEW public."B" AS SELECT email FROM public.m',
        "CREATE VIEW public.above AS SELECT email FROM public.a",
        'CREATE OR REPLACE VIEW public.a AS SELECT email FROM public.below UNION ALL SELECT email FROM public."B"',
    ):
        alone.sql(statement)
    for dry_run in (True, False):
        with refused(alone, Conflict, "db.needed_by_others") as error:
            run(alone, ruler, dry_run=dry_run)
        assert error.details == {"dependents": ['view public."B"', "view public.a", "materialized view public.m"]}
        assert 'view public."B", view public.a, materialized view public.m stand on each other' in error.message
        assert "nothing was done" in error.hint
        assert '`DROP VIEW public."B", public.a CASCADE`' in error.hint
        assert "create them anew" in error.hint
    alone.sql('DROP VIEW public."B", public.a CASCADE')
    assert run(alone, ruler).dependents == ("view public.below",)


def test_view_of_a_column_that_does_not_come_again_keeps_the_tables(alone: People) -> None:
    ruler = alone.superuser()
    alone.sql("ALTER TABLE bazar.users ADD COLUMN by_hand text")
    alone.sql("CREATE VIEW public.v AS SELECT by_hand FROM bazar.users")
    with refused(alone, Conflict, "db.not_restorable"):
        run(alone, ruler, dry_run=True)
    with refused(alone, Conflict, "db.not_restorable") as error:
        run(alone, ruler)
    assert "view public.v" in error.message
    assert "by_hand" in error.message


@pytest.mark.parametrize("revision", ALL[:-1])
def test_from_every_earlier_revision(fresh_database: Databases, target: Target, alone: People, revision: str) -> None:
    url = fresh_database()
    old = replace(target, database_url=Secret(url))
    Migrator(old).migrate(Migrate(revision, environment="tests", protected=False), lambda _text: None)
    with People(old) as people:
        ruler = people.superuser()
        make_roles(url)
        people.sql("GRANT SELECT ON bazar.users TO bazar_test_reader, anon")
        done = run(people, ruler)
        assert (done.previous, done.current) == (revision, HEAD)
        assert people.sql("SELECT environment FROM bazar.deployment") == [{"environment": "tests"}]
        assert people.operator(ruler).is_superuser
        may = "has_table_privilege('bazar_test_reader', 'bazar.users', 'SELECT') AS reader"
        assert people.sql(f"SELECT {may}") == [{"reader": True}]
        people.sql("REVOKE SELECT ON bazar.users FROM bazar_test_reader")
    schema = ("--schema=bazar", "--schema-only")
    assert dump(url, *schema) == dump(url_of(alone), *schema)


def test_rights_are_looked_at_again_with_the_tables_locked(alone: People) -> None:
    ruler = alone.superuser()
    alone.superuser()
    grant = granted(alone.operator(ruler), RESET)
    alone.sql("UPDATE bazar.users SET plan = 'plus' WHERE id = %s", ruler.id)
    with refused(alone, Conflict, "access.changed"):
        alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))


def test_port_of_a_transaction_pooler_is_refused_before_anything_connects(alone: People) -> None:
    ruler = alone.superuser()
    # Nobody listens there: whoever connects ends with `postgres.unavailable`.
    target = replace(alone.target, migration_url=Secret("postgresql://nobody@127.0.0.1:6543/nowhere"))
    with People(target) as astray:
        for dry_run in (False, True):
            with refused(alone, Refused, "db.transaction_pooler"):
                run(astray, ruler, dry_run=dry_run)


def test_superuser_who_came_meanwhile_ends_a_bootstrap(alone: People) -> None:
    first = alone.user()
    grant = decide_bootstrap(first.id, first.email, RESET, REQUEST_ID, dry_run=False, identity=an_identity(first))
    assert grant is not None
    alone.superuser()
    with refused(alone, Conflict, "access.changed"):
        alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))


def test_database_is_the_one_where_the_operator_is_known(alone: People, fresh_database: Databases) -> None:
    ruler, url = alone.superuser(), fresh_database(migrated=True)
    other = replace(alone.target, migration_url=Secret(url))
    with People(replace(other, database_url=Secret(url))) as there, People(other) as astray:
        there.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
        there.sql("INSERT INTO bazar.users SELECT (jsonb_populate_record(NULL::bazar.users, %s)).*", _row(alone, ruler))
        with refused(there, Conflict, "db.urls_differ"):
            astray.run(ruler, reset, RESET, ResetDatabase(confirm=name_of(url_of(there))))


def _row(people: People, someone: Someone) -> Jsonb:
    (found,) = people.sql("SELECT to_jsonb(u) AS row FROM bazar.users u WHERE id = %s", someone.id)
    return Jsonb(found["row"])


def test_marker_is_read_again_under_the_lock(alone: People, monkeypatch: pytest.MonkeyPatch) -> None:
    ruler = alone.superuser()
    looked = rebuild.Rebuilder.preview

    def preview(self: rebuild.Rebuilder, grant: Grant, status: MigrationStatus) -> ResetPlan:
        plan = looked(self, grant, status)
        alone.sql("UPDATE bazar.deployment SET protected = true")
        return plan

    monkeypatch.setattr(rebuild.Rebuilder, "preview", preview)
    with pytest.raises(Refused) as error:
        run(alone, ruler)
    assert error.value.code == "db.protected"
    assert alone.row(ruler) is not None
    assert alone.sql("SELECT count(*) AS n FROM bazar.audit_events") == [{"n": 0}]


def test_who_keeps_a_table_is_named(alone: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RETRIES", 0)
    monkeypatch.setattr(rebuild, "Migrate", lambda: Migrate(lock_timeout=0.3))
    ruler = alone.superuser()
    with psycopg.connect(url_of(alone), application_name="a long report") as reader:
        reader.execute("SELECT FROM bazar.users")
        with refused(alone, BackendUnavailable, "postgres.busy") as error:
            run(alone, ruler)
        with refused(alone, BackendUnavailable, "postgres.busy"):
            run(alone, ruler, dry_run=True)
    assert "the reset needs stayed locked" in error.message
    assert "a long report" in error.message


# -- other releases --------------------------------------------------------------------------------------------


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release whose revisions this process uses, for the test to add to and to edit."""
    checkout = Release(tmp_path / "release")
    monkeypatch.setattr(runner, "script_location", lambda: checkout.migrations)
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
    newer = runner.script_location
    monkeypatch.setattr(runner, "script_location", script_location)

    with refused(alone, Refused, "db.confirm_mismatch") as error:
        alone.run(ruler, reset, RESET, ResetDatabase())
    assert "other files than those of this release migrated it" in error.message
    assert "with the rest: bazar.extra;" in error.message

    request = ResetDatabase(confirm=name_of(url_of(alone)))
    done = alone.run(ruler, lambda backends, grant, asked: reset(backends, grant, asked, told.append), RESET, request)

    assert isinstance(done, DatabaseReset)
    assert any(text.startswith(f"warning: the database is at revision {NEXT}") for text in told)
    assert (done.previous, done.current, done.strangers) == (NEXT, HEAD, ("bazar.theirs",))
    assert LostTable("bazar.extra", 1) in done.tables
    alone.sql("DROP TABLE bazar.theirs")
    assert dump(url_of(alone), "--schema=bazar", "--schema-only") == schema
    monkeypatch.setattr(runner, "script_location", newer)
    migrate(alone)


def test_what_the_code_of_a_revision_raises_stops_it(alone: People, release: Release) -> None:
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


def test_revision_without_a_transaction_follows_what_is_kept(alone: People, release: Release) -> None:
    ruler = alone.superuser()
    alone.sql("UPDATE bazar.deployment SET environment = 'tests'")
    alone.sql("CREATE VIEW public.v AS SELECT email FROM bazar.users")
    release.add_concurrent(NEXT, "users_name_idx")
    path = release.add(ADDED[1], "op.execute('CREATE TABLE bazar.extra AS SELECT 1 / 0 AS id')")

    with pytest.raises(Conflict) as failed:
        run(alone, ruler)

    assert (failed.value.code, failed.value.details["applied"]) == ("db.revision_failed", [*ALL, NEXT])
    assert Migrator(alone.target).status().current == NEXT
    assert alone.sql("SELECT environment, protected FROM bazar.deployment") == [
        {"environment": "tests", "protected": False}
    ]
    assert alone.sql("SELECT email FROM public.v") == [{"email": ruler.email}]
    release.rewrite(path, "1 / 0", "1 / 1")
    migrate(alone)
    assert [a.revision.id for a in run(alone, ruler).applied] == [*ALL, NEXT, ADDED[1]]
    assert alone.sql("SELECT use_case FROM bazar.audit_events") == [{"use_case": "db.reset"}]


def test_every_object_of_every_revision_is_known(alone: People) -> None:
    """Whatever revisions make is found in their SQL: what is not would never go."""
    with psycopg.connect(url_of(alone)) as connection:
        found = owned_in(connection, rebuild.Rebuilder(alone.target).made, by_other_files=False)
    assert found.strangers == ()
    assert len(found.things) == 16


# -- identities ------------------------------------------------------------------------------------------------


@dataclass
class Stamped:
    """A Bazar of its own, and identities of every kind at its Supabase."""

    people: People
    ruler: Someone
    created: list[Someone]
    others: list[Someone]

    def there(self, some: list[Someone]) -> list[bool]:
        return [bool(self.people.identities(one.email)) for one in some]


@pytest.fixture
def stamped(alone: People) -> Stamped:
    alone.sql("UPDATE bazar.deployment SET id = gen_random_uuid()")
    ours = str(alone.sql("SELECT id FROM bazar.deployment")[0]["id"])

    def identity(deployment: str | None, origin: str = "created") -> Someone:
        made = Someone(uuid.uuid4(), an_address())
        stamp: dict[str, object] = {"bazar": {"deployment": deployment, "origin": origin}} if deployment else {}
        alone.identity(made, app_metadata=stamp)
        return made

    ruler = alone.superuser()
    alone.identity(ruler, app_metadata={"bazar": {"deployment": ours, "origin": "created"}})
    others = [identity(ours, "adopted"), identity(None), identity(str(uuid.uuid4())), identity(ours, "else"), ruler]
    return Stamped(alone, ruler, [identity(ours) for _ in range(5)], others)


def test_identities_created_here_go_and_no_other(stamped: Stamped, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_LARGE_PAGE", 2)
    people, ruler = stamped.people, stamped.ruler
    before = dump(url_of(people))
    assert run(people, ruler, dry_run=True, identities=True).identities == 5
    assert dump(url_of(people)) == before
    assert all(stamped.there(stamped.created))
    assert run(people, ruler).identities is None
    assert all(stamped.there(stamped.created))

    assert run(people, ruler, identities=True).identities == 5

    assert not any(stamped.there(stamped.created))
    assert all(stamped.there(stamped.others))
    (event,) = people.sql("SELECT after FROM bazar.audit_events")
    assert event["after"]["identities_deleted"] == 5
    assert run(people, ruler, identities=True).identities == 0


@pytest.mark.parametrize(("status", "deleted"), [(422, 4), (429, 4), (500, 0)])
def test_identity_that_stays_keeps_the_tables(stamped: Stamped, status: int, deleted: int) -> None:
    kept = stamped.created[2] if deleted else None
    path = f"/admin/users/{kept.id}" if kept else "/admin/users/.*"
    with auth_proxy(stamped.people.target) as proxy, People(proxy.target) as astray:
        fault = proxy.add(Fault("DELETE", path, status, times=None, retry_after="7"))
        with refused(stamped.people, BackendUnavailable, "db.identities_left") as error:
            run(astray, stamped.ruler, identities=True)
        assert error.details["deleted"] == deleted
        assert ("try again in 7 s" in error.hint, error.details.get("retry_after")) == (
            (True, 7) if status == 429 else (False, None)
        )
        assert fault.met == (1 if deleted else 3)
        proxy.heal()
        assert run(astray, stamped.ruler, identities=True).identities == 5 - deleted
    assert not any(stamped.there(stamped.created))


def test_nothing_goes_at_supabase_where_the_rest_would_fail(stamped: Stamped) -> None:
    stamped.people.sql("CREATE TABLE public.t (u bazar.users)")
    with refused(stamped.people, Conflict, "db.needed_by_others"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))


def test_nothing_goes_at_supabase_from_a_protected_database(stamped: Stamped) -> None:
    stamped.people.sql("UPDATE bazar.deployment SET protected = true")
    with refused(stamped.people, Refused, "db.protected"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))
