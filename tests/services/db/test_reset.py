"""`db reset`: what goes, what stays, and what is put back."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg.types.json import Jsonb

from bazar_cli.adapters.migrations import migrator, session
from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.reset import resetter
from bazar_cli.adapters.migrations.reset.owned import names_made_by, owned_objects
from bazar_cli.adapters.migrations.reverter import Reverter
from bazar_cli.adapters.migrations.revision_files import paths, revisions, script_location
from bazar_cli.adapters.supabase import admin
from bazar_cli.domain.authz.policy import decide_bootstrap
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.db.migrations import ROLLBACK, LostTable, Migrate, MigrationStatus
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
    return people.run(operator, reset, RESET, request, dry_run=dry_run)


@contextmanager
def refused(people: People, kind: type[BazarError], code: str) -> Generator[BazarError]:
    """Expect this error, and a database that nothing was done to."""
    before, caught = dump(url_of(people)), BazarError("", "")
    with pytest.raises(kind) as error:
        yield caught
    assert error.value.code == code, error.value
    caught.message, caught.hint, caught.details = error.value.message, error.value.hint, error.value.details
    assert dump(url_of(people)) == before


def test_at_the_head_nothing_of_a_supabase_project_is_touched(alone: People) -> None:
    url, ruler = url_of(alone), alone.superuser()
    alone.org()
    shape(url)
    alone.sql("INSERT INTO public.files VALUES (1, %s, 'plus'), (2, NULL, NULL)", ruler.id)
    before, theirs = dump(url, "--exclude-table-data=bazar.*"), alone.sql('SELECT * FROM bazar."Their table"')
    catalog = _catalog(alone)

    done = run(alone, ruler)

    assert dump(url, "--exclude-table-data=bazar.*") == before
    assert alone.sql('SELECT * FROM bazar."Their table"') == theirs
    assert _catalog(alone) == catalog
    assert done.strangers == ('bazar."Their table"', "bazar.mood", "bazar.theirs()")
    assert done.foreign_keys == (
        'foreign key "Their table_plan_fkey" of bazar."Their table"',
        'foreign key "files owner" of public.files',
        "foreign key files_plan_fkey of public.files",
        "foreign key untried of public.files",
    )
    alone.sql("CREATE TABLE public.later (id int)")
    (later,) = alone.sql(
        "SELECT has_table_privilege('anon', 'public.later', 'SELECT') AS reads,"
        " has_table_privilege('bazar_test_reader', 'public.later', 'SELECT') AS others"
    )
    assert later == {"reads": True, "others": False}


def _catalog(people: People) -> list[dict[str, object]]:
    """The numbers of all objects but foreign keys and their triggers: whatever was dropped has another one."""
    return people.sql(
        "SELECT oid FROM pg_class UNION ALL SELECT oid FROM pg_proc UNION ALL SELECT oid FROM pg_policy"
        " UNION ALL SELECT oid FROM pg_rewrite UNION ALL SELECT oid FROM pg_statistic_ext"
        " UNION ALL SELECT oid FROM pg_publication_rel UNION ALL SELECT oid FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT oid FROM pg_constraint WHERE contype <> 'f' ORDER BY oid"
    )


def test_rows_of_a_fresh_database_are_there_again(alone: People, fresh_database: Databases) -> None:
    ruler = alone.superuser()
    rows = "SELECT jsonb_agg(p ORDER BY p) AS rows FROM bazar.{} p"
    with psycopg.connect(fresh_database(migrated=True)) as fresh:
        expected = [fresh.execute(rows.format(table).encode()).fetchall() for table in ("plans", "plan_permissions")]
    alone.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'plus'")
    alone.sql("UPDATE bazar.plans SET title = 'Else' WHERE name = 'free'")
    alone.sql("INSERT INTO bazar.plans VALUES ('more', 'More', 4)")
    alone.sql("INSERT INTO bazar.plan_permissions VALUES ('more', 'db:read')")

    run(alone, ruler)

    assert [[(alone.sql(rows.format(table))[0]["rows"],)] for table in ("plans", "plan_permissions")] == expected
    assert alone.sql("SELECT seq FROM bazar.audit_events") == [{"seq": 1}]


def test_at_the_head_columns_of_others_keep_their_values_in_rows_that_stay(alone: People) -> None:
    ruler, other = alone.superuser(), alone.user()
    for statement in (
        "ALTER TABLE bazar.plans ADD price int, ADD twice int GENERATED ALWAYS AS (price * 2) STORED",
        "UPDATE bazar.plans SET price = position * 10",
        "ALTER TABLE bazar.plans ALTER price SET NOT NULL",
        "CREATE TABLE public.places (id int PRIMARY KEY)",
        "INSERT INTO public.places VALUES (7)",
        "ALTER TABLE bazar.users ADD place int UNIQUE REFERENCES public.places DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE bazar.users ADD number bigint GENERATED ALWAYS AS IDENTITY, ADD note text DEFAULT 'none'",
        "CREATE INDEX users_note_idx ON bazar.users (note)",
    ):
        alone.sql(statement)
    alone.sql("UPDATE bazar.users SET place = 7, note = NULL WHERE id = %s", ruler.id)
    number = "SELECT number, place, note FROM bazar.users WHERE id = %s"
    before = alone.sql(number, ruler.id)

    done = run(alone, ruler)

    assert alone.sql(number, ruler.id) == before
    assert alone.sql("SELECT price, twice FROM bazar.plans ORDER BY position") == [
        {"price": n, "twice": 2 * n} for n in (10, 20, 30)
    ]
    assert alone.row(other) is None
    assert done.in_place
    assert alone.sql("SELECT to_regclass('bazar.users_note_idx') IS NOT NULL AS there") == [{"there": True}]


def test_partitioned_table_of_others_in_the_schema_is_listed(alone: People) -> None:
    ruler = alone.superuser()
    alone.sql("CREATE TABLE bazar.parts (id int) PARTITION BY LIST (id)")
    assert run(alone, ruler).strangers == ("bazar.parts",)
    behind(alone)
    assert run(alone, ruler).strangers == ("bazar.parts",)


@pytest.mark.parametrize("at_the_head", [True, False])
def test_column_of_others_is_not_taken_for_the_row(alone: People, at_the_head: bool) -> None:
    if not at_the_head:
        behind(alone)
    ruler = alone.user(name="Ada", plan=Plan.PREMIUM, superuser=True)
    alone.sql("ALTER TABLE bazar.users ADD r jsonb")
    alone.sql("""UPDATE bazar.users SET r = '{"name": "Eve", "email": "eve@example.com"}'""")

    assert run(alone, ruler).in_place == at_the_head

    assert alone.sql("SELECT name, email FROM bazar.users") == [{"name": "Ada", "email": ruler.email}]


def test_at_the_head_values_of_others_come_back_exactly(alone: People) -> None:
    ruler = alone.superuser()
    for statement in (
        "CREATE TYPE public.pair AS (a numeric, b text)",
        "CREATE DOMAIN public.few AS int[] CHECK (array_length(VALUE, 1) < 9)",
        (
            "ALTER TABLE bazar.users ADD x numeric, ADD p public.pair, ADD f public.few, ADD j jsonb, ADD k json,"
            " ADD i interval, ADD d float8, ADD t bytea, ADD o int4range, ADD twice int GENERATED ALWAYS AS (1) STORED"
        ),
        (
            "UPDATE bazar.users SET x = 12345678901234567890123456789012345678.1, p = (1.10, 'a,\"b'),"
            " f = '[3:4]={1,2}',"
            " j = 'null', k = '{\"a\":  1}', i = '-1 day +2:00', d = 0.1::float8 + 0.2, t = '\\x00ff'"
        ),
        "ALTER TABLE bazar.plan_permissions ADD x numeric",
        "UPDATE bazar.plan_permissions SET x = 12345678901234567890123456789012345678.1",
    ):
        alone.sql(statement)
    rows = (
        "SELECT (u.*)::text FROM (SELECT id, x, p, f, j, k, i, d, t, o, twice FROM bazar.users) u",
        "SELECT (p.*)::text FROM bazar.plan_permissions p ORDER BY plan, permission",
    )
    before = [alone.sql(query) for query in rows]

    assert run(alone, ruler).in_place

    assert [alone.sql(query) for query in rows] == before


def test_marker_operator_and_log_are_kept(alone: People) -> None:
    alone.sql("UPDATE bazar.deployment SET environment = 'tests'")
    kept = ("SELECT * FROM bazar.deployment", "SELECT * FROM bazar.migration_log ORDER BY id")
    before = [alone.sql(query) for query in kept]
    ruler = alone.user(name="Ada", plan=Plan.PREMIUM, superuser=True)
    alone.sql("UPDATE bazar.users SET origin = 'adopted', created_at = '2020-01-01', pending = 'email'")
    alone.superuser()
    alone.org()
    row = alone.row(ruler)
    assert row is not None

    done = run(alone, ruler)

    assert [alone.sql(query) for query in kept] == before
    (after,) = alone.sql("SELECT * FROM bazar.users")
    assert after == {**row, "pending": None, "updated_at": after["updated_at"]}
    assert (done.in_place, done.applied, done.pending) == (True, (), ())
    (event,) = alone.sql("SELECT * FROM bazar.audit_events")
    assert (event["use_case"], event["operator_id"]) == ("db.reset", ruler.id)
    assert event["before"]["tables"]["bazar.users"] == 2
    assert event["before"]["revision"] == event["after"]["revision"] == HEAD
    assert alone.sql("SELECT count(*) AS n FROM bazar.organizations") == [{"n": 0}]


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


def test_deleted_audit_log_is_sealed_and_its_last_hash_recorded(alone: People) -> None:
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
    assert (done.applied, done.pending, done.current, done.in_place) == ((), (), HEAD, True)
    assert "bazar.users" in [table.name for table in done.tables]
    assert "foreign key untried of public.files" in done.foreign_keys
    assert dump(url_of(alone)) == before


def test_rows_that_would_refer_to_nothing_keep_the_tables(alone: People) -> None:
    ruler, other = alone.superuser(), alone.user()
    alone.sql("CREATE TABLE public.files (owner_id uuid REFERENCES bazar.users ON DELETE CASCADE)")
    alone.sql("INSERT INTO public.files VALUES (%s), (%s)", ruler.id, other.id)
    with refused(alone, Conflict, "db.rows_refer") as error:
        run(alone, ruler)
    assert error.details == {
        "dependent": "foreign key files_owner_id_fkey of public.files",
        "rows": 1,
        "values": [str(other.id)],
    }
    assert error.message.startswith("1 row refers by the foreign key files_owner_id_fkey of public.files")
    with refused(alone, Conflict, "db.rows_refer"):
        run(alone, ruler, dry_run=True)
    alone.sql("DELETE FROM public.files WHERE owner_id = %s", other.id)
    run(alone, ruler)
    assert alone.sql("SELECT owner_id FROM public.files") == [{"owner_id": ruler.id}]


@pytest.mark.parametrize("table", ["users", "organizations"])
def test_row_of_the_operator_may_not_refer_to_a_deleted_row(alone: People, table: str) -> None:
    ruler = alone.superuser()
    other = alone.user().id if table == "users" else alone.org().id
    alone.sql(f"ALTER TABLE bazar.users ADD of_others uuid REFERENCES bazar.{table}")
    alone.sql("UPDATE bazar.users SET of_others = %s WHERE id = %s", other, ruler.id)
    with refused(alone, Conflict, "db.rows_refer") as error:
        run(alone, ruler)
    key = "foreign key users_of_others_fkey of bazar.users"
    assert error.details == {"dependent": key, "rows": 1, "values": [str(other)]}
    alone.sql("UPDATE bazar.users SET of_others = %s", None if table == "organizations" else ruler.id)
    assert run(alone, ruler).foreign_keys == (key,)


def test_rows_under_a_key_that_was_never_validated_count_only_if_they_referred_to_something(alone: People) -> None:
    ruler, other = alone.superuser(), alone.user()
    alone.sql("CREATE TABLE public.files (owner_id uuid)")
    alone.sql("INSERT INTO public.files VALUES (gen_random_uuid()), (%s), (%s)", ruler.id, other.id)
    alone.sql("ALTER TABLE public.files ADD CONSTRAINT late FOREIGN KEY (owner_id) REFERENCES bazar.users NOT VALID")
    with refused(alone, Conflict, "db.rows_refer") as error:
        run(alone, ruler)
    assert (error.details["rows"], error.details["values"]) == (1, [str(other.id)])
    alone.sql("DELETE FROM public.files WHERE owner_id = %s", other.id)
    run(alone, ruler)
    assert alone.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'late'") == [{"convalidated": False}]
    assert alone.sql("SELECT count(*) AS n FROM public.files") == [{"n": 2}]


@pytest.fixture
def plain(target: Target, fresh_database: Databases) -> Generator[People]:
    """People in a database that a role without any attribute migrated, and as which they write."""
    url, role = fresh_database(), f"t_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}".encode())
        owner.execute(f'GRANT CREATE ON DATABASE "{name_of(url)}" TO {role}'.encode())
        try:
            limited = replace(target, database_url=Secret(f"{url}{'&' if '?' in url else '?'}options=-crole%3D{role}"))
            Migrator(limited).migrate(Migrate(environment="tests", protected=False), lambda _text: None)
            with People(limited) as people:
                yield people
        finally:
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_role_that_owns_the_tables_needs_no_more_rights(plain: People) -> None:
    ruler = plain.superuser()
    plain.user()
    plain.sql("CREATE TABLE public.files (owner_id uuid REFERENCES bazar.users)")
    plain.sql("INSERT INTO public.files VALUES (%s)", ruler.id)
    schema = dump(url_of(plain), "--schema-only")

    assert run(plain, ruler).foreign_keys == ("foreign key files_owner_id_fkey of public.files",)

    assert dump(url_of(plain), "--schema-only") == schema
    assert plain.sql("SELECT id FROM bazar.users") == [{"id": ruler.id}]
    behind(plain)
    plain.sql("DROP TABLE public.files")
    assert run(plain, ruler).applied


def test_key_of_another_role_is_named_with_that_role(plain: People) -> None:
    ruler, url = plain.superuser(), url_of(plain)
    role, (owner, _, _) = f"t_{secrets.token_hex(6)}", url.partition("options=")
    plain.sql("CREATE TABLE public.files (owner_id uuid CONSTRAINT theirs REFERENCES bazar.users)")
    with psycopg.connect(owner.rstrip("?&"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role}; CREATE SCHEMA os AUTHORIZATION {role}".encode())
        try:
            connection.execute(b"ALTER TABLE public.files SET SCHEMA os")
            for by in ("the schema", "the table"):
                if by == "the table":
                    connection.execute(
                        f"ALTER TABLE os.files OWNER TO {role}; GRANT USAGE ON SCHEMA os TO PUBLIC".encode()
                    )
                with pytest.raises(Conflict) as error:
                    run(plain, ruler)
                assert error.value.code == "postgres.privilege"
                assert "the foreign key theirs of os.files" in error.value.message
                assert f"let the role {role} run `ALTER TABLE os.files DROP CONSTRAINT theirs`" in error.value.hint
        finally:
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def test_triggers_and_rules_are_off_meanwhile_and_keep_their_states(alone: People) -> None:
    ruler = alone.superuser()
    states = (
        "SELECT tgname AS name, tgenabled AS state FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT rulename,"
    )
    states += " ev_enabled FROM pg_rewrite ORDER BY name"
    for statement in (
        "CREATE TABLE public.seen (what text)",
        (
            "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO public.seen VALUES (TG_OP); RETURN NULL; END'"
        ),
    ):
        alone.sql(statement)
    for number, state in enumerate(("ENABLE", "ENABLE ALWAYS", "ENABLE REPLICA", "DISABLE")):
        alone.sql(f"CREATE TRIGGER t{number} AFTER INSERT ON bazar.users FOR EACH ROW EXECUTE FUNCTION public.see()")
        alone.sql(f"ALTER TABLE bazar.users {state} TRIGGER t{number}")
        alone.sql(f"CREATE RULE r{number} AS ON INSERT TO bazar.plans DO ALSO INSERT INTO public.seen VALUES ('rule')")
        alone.sql(f"ALTER TABLE bazar.plans {state} RULE r{number}")
    alone.sql("CREATE TRIGGER cut BEFORE TRUNCATE ON bazar.users EXECUTE FUNCTION public.see()")
    before = alone.sql(states)

    run(alone, ruler)

    assert alone.sql(states) == before
    assert alone.sql("SELECT what FROM public.seen") == []


def test_tables_of_others_that_inherit_from_bazars_keep_their_rows(alone: People) -> None:
    ruler = alone.superuser()
    alone.sql("CREATE TABLE public.t () INHERITS (bazar.organizations)")
    alone.sql("INSERT INTO public.t (id, slug, name) VALUES (gen_random_uuid(), 'theirs', 'Theirs')")
    done = run(alone, ruler)
    assert LostTable("bazar.organizations", 0) in done.tables
    assert alone.sql("SELECT slug FROM public.t") == [{"slug": "theirs"}]


def test_only_rows_that_a_foreign_key_covers_can_stop_it(alone: People) -> None:
    ruler = alone.superuser()
    for statement in (
        "CREATE TABLE public.files (owner_id uuid REFERENCES bazar.users)",
        "CREATE TABLE public.old_files () INHERITS (public.files)",
        "INSERT INTO public.old_files VALUES (gen_random_uuid())",
        "CREATE TABLE public.parts (owner_id uuid, plan text REFERENCES bazar.plans) PARTITION BY LIST (plan)",
        "CREATE TABLE public.free_parts PARTITION OF public.parts FOR VALUES IN ('free')",
        "ALTER TABLE public.parts ADD FOREIGN KEY (owner_id) REFERENCES bazar.users",
    ):
        alone.sql(statement)
    alone.sql("INSERT INTO public.parts VALUES (%s, 'free')", ruler.id)
    before = dump(url_of(alone), "--schema=public")

    run(alone, ruler)

    assert dump(url_of(alone), "--schema=public") == before
    other = alone.user()
    alone.sql("INSERT INTO public.parts VALUES (%s, 'free')", other.id)
    with refused(alone, Conflict, "db.rows_refer") as error:
        run(alone, ruler)
    assert error.details["dependent"] == "foreign key parts_owner_id_fkey of public.parts"


DEPENDENTS = [
    (
        "CREATE FUNCTION public.f(u bazar.users) RETURNS text LANGUAGE sql AS 'SELECT ($1).email'",
        ["DROP FUNCTION public.f(bazar.users)"],
    ),
    ("CREATE TABLE public.t (u bazar.users)", ["ALTER TABLE public.t DROP COLUMN u"]),
    ("CREATE TABLE public.t (u bazar.users[])", ["ALTER TABLE public.t DROP COLUMN u"]),
    ("CREATE TABLE public.t () INHERITS (bazar.users)", ["ALTER TABLE public.t NO INHERIT bazar.users"]),
    (
        "CREATE VIEW public.v AS SELECT email FROM bazar.users; CREATE TABLE public.t (v public.v)",
        ["ALTER TABLE public.t DROP COLUMN v", "DROP VIEW public.v"],
    ),
    (
        "CREATE TABLE public.t (n bigint DEFAULT bazar.seal_audit(1))",
        ["ALTER TABLE public.t ALTER COLUMN n DROP DEFAULT"],
    ),
    (
        'CREATE TABLE public."T t" (plan text CONSTRAINT "Key" REFERENCES bazar.plans)',
        ['ALTER TABLE public."T t" DROP CONSTRAINT "Key"'],
    ),
    (
        (
            "CREATE TABLE public.t (plan text REFERENCES bazar.plans) PARTITION BY LIST (plan);"
            " CREATE TABLE public.t1 PARTITION OF public.t DEFAULT"
        ),
        ["ALTER TABLE public.t DROP CONSTRAINT t_plan_fkey"],
    ),
    (
        (
            "CREATE MATERIALIZED VIEW public.m AS SELECT email FROM bazar.operators;"
            " CREATE UNIQUE INDEX m_email ON public.m (email); CREATE VIEW public.v AS SELECT * FROM public.m"
        ),
        ["DROP VIEW public.v", "DROP MATERIALIZED VIEW public.m"],
    ),
    (
        "CREATE TRIGGER theirs BEFORE TRUNCATE ON auth.users EXECUTE FUNCTION bazar.audit_refuse_change()",
        ["DROP TRIGGER theirs ON auth.users"],
    ),
    (
        (
            "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            " CREATE TRIGGER t AFTER INSERT ON bazar.users FOR EACH ROW EXECUTE FUNCTION public.f()"
        ),
        ["DROP TRIGGER t ON bazar.users"],
    ),
    (
        (
            "CREATE TABLE public.t (id uuid); ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY p ON public.t USING (id IN (SELECT id FROM bazar.users))"
        ),
        ["DROP POLICY p ON public.t"],
    ),
    ("CREATE POLICY p ON bazar.users USING (true)", ["DROP POLICY p ON bazar.users"]),
    ("CREATE RULE r AS ON INSERT TO bazar.plans DO ALSO NOTHING", ["DROP RULE r ON bazar.plans"]),
    ('CREATE STATISTICS public."S" ON name, email FROM bazar.users', ['DROP STATISTICS public."S"']),
    (
        "CREATE PUBLICATION bazar_test_p FOR TABLE bazar.users",
        ["ALTER PUBLICATION bazar_test_p DROP TABLE ONLY bazar.users"],
    ),
    (
        "CREATE TABLE public.t (n int CHECK (bazar.seal_audit(n) > 0))",
        ["ALTER TABLE public.t DROP CONSTRAINT t_n_check"],
    ),
    (
        (
            "CREATE VIEW public.a AS SELECT id, email FROM bazar.users; CREATE VIEW public.b AS SELECT * FROM public.a;"
            " CREATE RULE to_b AS ON INSERT TO public.a DO INSTEAD INSERT INTO public.b VALUES (new.id, new.email)"
        ),
        ["DROP RULE to_b ON public.a", "DROP VIEW public.b", "DROP VIEW public.a"],
    ),
]


@pytest.mark.parametrize(("statements", "drops"), DEPENDENTS)
def test_from_another_revision_objects_of_others_stop_the_reset_and_are_named(
    alone: People, statements: str, drops: list[str]
) -> None:
    ruler = alone.superuser()
    with psycopg.connect(url_of(alone), autocommit=True) as connection:
        connection.execute(statements.encode())

    done = run(alone, ruler, dry_run=True)
    assert done.in_place
    run(alone, ruler)
    behind(alone)

    for dry_run in (True, False):
        with refused(alone, Conflict, "db.needed_by_others") as error:
            run(alone, ruler, dry_run=dry_run)
        assert error.details == {"dependents": drops}
        assert drops[0] in error.message
    for drop in drops:
        alone.sql(drop)
    assert run(alone, ruler).current == HEAD


KINDS = """
    CREATE FUNCTION public.n(n bigint, u bazar.users DEFAULT NULL) RETURNS bigint IMMUTABLE LANGUAGE plpgsql
        AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION public.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    ALTER TABLE bazar.plans ADD computed bigint GENERATED ALWAYS AS (public.n(1)) STORED, ADD counted serial;
    CREATE FOREIGN DATA WRAPPER bazar_test_wrapper;
    CREATE SERVER bazar_test_server FOREIGN DATA WRAPPER bazar_test_wrapper;
    CREATE FOREIGN TABLE public.elsewhere (id int, u bazar.users) SERVER bazar_test_server;
    CREATE TYPE public.composite AS (u bazar.users, n int);
    CREATE TABLE public.of_arrays (c public.composite[]);
    CREATE TYPE public.row_type AS (u bazar.users, n int);
    CREATE TABLE public.typed OF public.row_type;
    CREATE TABLE public.computed (n bigint, twice bigint GENERATED ALWAYS AS (public.n(n)) STORED);
    CREATE TABLE public.computed_child () INHERITS (public.computed);
    CREATE VIEW public.computed_view AS SELECT twice FROM public.computed_child;
    CREATE DOMAIN public."Domain" AS int CONSTRAINT "a check" CHECK (public.n(VALUE) > 0);
    CREATE TABLE public.parent (u bazar.users, n int CHECK (public.n(n) > 0));
    CREATE TABLE public.child () INHERITS (public.parent);
    CREATE VIEW public.of_child AS SELECT (u).email FROM public.child;
    CREATE TABLE public.parts (u bazar.users, k int, n bigint, plan text REFERENCES bazar.plans) PARTITION BY LIST (k);
    CREATE TABLE public.part PARTITION OF public.parts DEFAULT;
    CREATE INDEX ON public.parts (public.n(n));
    CREATE TRIGGER "fires too" AFTER INSERT ON public.parts FOR EACH ROW WHEN (public.n(new.n) > 0)
        EXECUTE FUNCTION public.fires();
    CREATE VIEW public.of_part AS SELECT (u).email FROM public.part;
    CREATE TABLE public.by_users (u bazar.users, n int CHECK (public.n(n) > 0)) PARTITION BY RANGE (u, public.n(n));
    CREATE TABLE public.by_users_part PARTITION OF public.by_users DEFAULT;
    CREATE VIEW public.of_by_users AS SELECT n FROM public.by_users_part;
    CREATE TABLE public.excluded (n bigint, EXCLUDE USING btree (public.n(n) WITH =));
    CREATE PUBLICATION bazar_test_changes FOR TABLE bazar.users;
    CREATE TABLE public.heir () INHERITS (bazar.users, bazar.organizations);
    CREATE TABLE public.heir_of_heir () INHERITS (public.heir);
    CREATE VIEW public.of_heir AS SELECT id FROM public.heir;
    CREATE SEQUENCE bazar.numbers OWNED BY bazar.users.name;
    CREATE TABLE public.numbered (n bigint DEFAULT nextval('bazar.numbers'));
    CREATE VIEW public.older AS SELECT 1 AS n;
    CREATE VIEW public.newer AS SELECT email FROM bazar.users;
    CREATE OR REPLACE VIEW public.older AS SELECT 1 AS n, email FROM public.newer;
    CREATE MATERIALIZED VIEW public.typed_view AS SELECT NULL::bazar.users AS u, 1 AS n;
    CREATE UNIQUE INDEX ON public.typed_view (n);
    CREATE VIEW public.writable AS SELECT 1::bigint AS n;
    ALTER VIEW public.writable ALTER n SET DEFAULT bazar.seal_audit(1);
    CREATE CONSTRAINT TRIGGER checks AFTER INSERT ON public.computed FROM bazar.users FOR EACH ROW
        EXECUTE FUNCTION public.fires();
    CREATE FUNCTION public.same(bazar.users, bazar.users) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR public.=== (LEFTARG = bazar.users, RIGHTARG = bazar.users, FUNCTION = public.same);
    CREATE OPERATOR CLASS public.by_sameness FOR TYPE bazar.users USING hash AS OPERATOR 1 public.===;
    CREATE FUNCTION public.number_of(bazar.users) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE CAST (bazar.users AS int) WITH FUNCTION public.number_of(bazar.users);
    CREATE FUNCTION public.adds(int, bazar.users) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE public.total(bazar.users) (SFUNC = public.adds, STYPE = int)
"""


def test_statements_of_the_refusal_work_as_printed_for_every_kind_of_dependent(alone: People) -> None:
    ruler = alone.superuser()
    behind(alone)
    with psycopg.connect(url_of(alone), autocommit=True) as connection:
        connection.execute(KINDS.encode())

    with refused(alone, Conflict, "db.needed_by_others") as error:
        run(alone, ruler)
    statements = cast("list[str]", error.details["dependents"])
    assert len(statements) > 30
    for statement in statements:
        assert statement in error.message
        alone.sql(statement)

    assert run(alone, ruler).current == HEAD
    kept = ("part", "child", "heir", "heir_of_heir", "numbered", "typed", "by_users")
    there = alone.sql(
        "SELECT name, to_regclass('public.' || name) IS NOT NULL AS there FROM unnest(%s::text[]) AS name",
        [*kept],
    )
    assert [row["name"] for row in there if row["there"]] == [*kept[:5]]
    assert alone.sql("SELECT nextval('bazar.numbers') AS n") == [{"n": 1}]
    assert alone.sql("SELECT to_regclass('bazar.plans_counted_seq') AS sequence") == [{"sequence": None}]


def test_local_definitions_under_inherited_ones_are_named_in_a_second_round(alone: People) -> None:
    ruler = alone.superuser()
    behind(alone)
    with psycopg.connect(url_of(alone), autocommit=True) as connection:
        connection.execute(b"CREATE TABLE public.parent (u bazar.users)")
        connection.execute(b"CREATE TABLE public.child (u bazar.users) INHERITS (public.parent)")
    for drop in ("ALTER TABLE public.parent DROP COLUMN u", "ALTER TABLE public.child DROP COLUMN u"):
        with refused(alone, Conflict, "db.needed_by_others") as error:
            run(alone, ruler)
        assert error.details == {"dependents": [drop]}
        alone.sql(drop)
    assert run(alone, ruler).current == HEAD


def after_preview(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something right after the reset was planned, before it takes locks."""
    looked = resetter.Resetter.preview

    def preview(self: resetter.Resetter, grant: Grant, status: MigrationStatus) -> ResetPlan:
        plan = looked(self, grant, status)
        act()
        return plan

    monkeypatch.setattr(resetter.Resetter, "preview", preview)


def test_objects_of_others_that_came_after_the_preview_stop_the_reset(
    alone: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruler = alone.superuser()
    behind(alone)
    after_preview(monkeypatch, lambda: alone.sql("CREATE VIEW public.v AS SELECT email FROM bazar.users"))
    with pytest.raises(Conflict) as error:
        run(alone, ruler)
    assert error.value.details == {"dependents": ["DROP VIEW public.v"]}
    assert alone.row(ruler) is not None


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


def behind(people: People) -> None:
    """Take the newest revision back, so that a reset must drop the tables."""
    reverter = Reverter(people.target, granted(people.operator(people.superuser()), ROLLBACK))
    seen = reverter.preview(reverter.status(), reverter.chosen(reverter.status(), 1, None))
    reverter.revert(seen, lambda _status: None, lambda _text: None, again=False)


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


def test_superuser_made_meanwhile_stops_a_bootstrap(alone: People) -> None:
    first = alone.user()
    grant = by_bootstrap(first)
    alone.superuser()
    with refused(alone, Conflict, "access.changed"):
        alone.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(alone))))


DAMAGE = [
    "DROP VIEW bazar.operators",
    "DROP TABLE bazar.memberships CASCADE",
    "DROP TABLE bazar.audit_unsealed CASCADE",
    "DROP FUNCTION bazar.seal_audit CASCADE",
]


def by_bootstrap(someone: Someone) -> Grant:
    grant = decide_bootstrap(someone.id, someone.email, RESET, REQUEST_ID, dry_run=False, identity=an_identity(someone))
    assert grant is not None
    return grant


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_head_is_made_anew_by_its_superuser(alone: People, damage: str) -> None:
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


def test_what_a_damaged_head_lacks_is_named_where_others_depend_on_it(alone: People) -> None:
    ruler = alone.superuser()
    alone.sql("CREATE VIEW public.v AS SELECT email FROM bazar.users")
    alone.sql("DROP TABLE bazar.audit_unsealed CASCADE")
    with refused(alone, Conflict, "db.needed_by_others") as error:
        run(alone, ruler)
    assert error.message == (
        "1 object of others depends on tables that must be dropped, as bazar.audit_unsealed is missing:"
        " DROP VIEW public.v"
    )
    assert "db migrate" not in error.hint


@pytest.mark.parametrize("state", ["unknown", "a user", "suspended"])
def test_missing_view_does_not_let_superuser_email_take_over(alone: People, state: str) -> None:
    alone.superuser()
    someone = Someone(uuid.uuid4(), an_address()) if state == "unknown" else alone.user(superuser=state == "suspended")
    alone.sql("UPDATE bazar.users SET plan = 'premium', state = 'suspended' WHERE id = %s AND is_superuser", someone.id)
    alone.sql("DROP VIEW bazar.operators")
    with refused(alone, Conflict, "db.superuser_exists") as error:
        alone.run_with(by_bootstrap(someone), reset, ResetDatabase(confirm=name_of(url_of(alone))))
    assert f"{someone.email} is not one" in error.message


def test_superusers_that_row_security_hides_stop_a_bootstrap(plain: People) -> None:
    plain.superuser()
    plain.sql("DROP VIEW bazar.operators")
    grant = by_bootstrap(plain.user())
    plain.sql("ALTER TABLE bazar.users FORCE ROW LEVEL SECURITY")
    with pytest.raises(Conflict) as error:
        plain.run_with(grant, reset, ResetDatabase(confirm=name_of(url_of(plain))))
    assert error.value.code == "postgres.privilege"
    plain.sql("ALTER TABLE bazar.users NO FORCE ROW LEVEL SECURITY")
    assert plain.sql("SELECT count(*) AS n FROM bazar.users") == [{"n": 2}]


def test_database_must_be_the_one_where_the_operator_was_found(alone: People, fresh_database: Databases) -> None:
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
    after_preview(monkeypatch, lambda: alone.sql("UPDATE bazar.deployment SET protected = true"))
    with pytest.raises(Refused) as error:
        run(alone, ruler)
    assert error.value.code == "db.protected"
    assert alone.row(ruler) is not None
    assert alone.sql("SELECT count(*) AS n FROM bazar.audit_events") == [{"n": 0}]


def test_sessions_that_hold_a_table_are_named(alone: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "RETRIES", 0)
    monkeypatch.setattr(resetter, "Migrate", lambda: Migrate(lock_timeout=0.3))
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
    """Whatever revisions make is found in their SQL: what is not would never go."""
    with psycopg.connect(url_of(alone)) as connection:
        made = names_made_by(paths(script_location()).values())
        found = owned_objects(connection, made, by_other_files=False)
    assert (found.foreign, found.missing) == ((), ())
    assert len(found.objects) == 16


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


def test_only_identities_created_here_are_deleted(stamped: Stamped, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_identity_that_cannot_be_deleted_keeps_the_tables(stamped: Stamped, status: int, deleted: int) -> None:
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


def test_no_identity_is_deleted_if_the_rest_would_fail(stamped: Stamped) -> None:
    stamped.people.sql("CREATE TABLE public.t (id uuid REFERENCES bazar.users)")
    stamped.people.sql("INSERT INTO public.t VALUES (%s)", stamped.people.user().id)
    with refused(stamped.people, Conflict, "db.rows_refer"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))


def test_no_identity_of_a_protected_database_is_deleted(stamped: Stamped) -> None:
    stamped.people.sql("UPDATE bazar.deployment SET protected = true")
    with refused(stamped.people, Refused, "db.protected"):
        run(stamped.people, stamped.ruler, identities=True)
    assert all(stamped.there(stamped.created))
