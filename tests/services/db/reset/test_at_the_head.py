"""`db reset` at the head: rows go, and nothing else of the database is touched."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import psycopg
import pytest

from bazar_cli.domain.db.migrations import LostTable
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.errors import Conflict
from tests.services.db.reset.support import HEAD, behind, refused, run, url_of
from tests.support.people import People
from tests.support.row_versions import row_versions
from tests.support.supabase_shape import dump, shape

Databases = Callable[..., str]


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
    """The oids of all objects but foreign keys and their triggers: an object that was dropped has another one."""
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
    before = row_versions(url_of(alone))
    done = run(alone, ruler, dry_run=True)
    assert (done.applied, done.pending, done.current, done.in_place) == ((), (), HEAD, True)
    assert "bazar.users" in [table.name for table in done.tables]
    assert "foreign key untried of public.files" in done.foreign_keys
    assert row_versions(url_of(alone)) == before


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
