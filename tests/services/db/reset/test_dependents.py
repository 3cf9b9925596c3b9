"""Objects of others that depend on the tables of bazar stop a reset that must drop the tables."""

from __future__ import annotations

from typing import cast

import psycopg
import pytest

from bazar_cli.domain.errors import Conflict
from tests.services.db.reset.support import ALL, HEAD, after_preview, behind, refused, run, url_of
from tests.support.people import People, Someone

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


@pytest.fixture(scope="module")
def dropping(apart: People) -> tuple[People, Someone]:
    """People whose tables a reset must drop, and their superuser."""
    behind(apart)
    return apart, apart.superuser()


def add(people: People, statements: str) -> None:
    """Make objects of others."""
    with psycopg.connect(url_of(people), autocommit=True) as connection:
        connection.execute(statements.encode())


def drop_as_printed(people: People, drops: list[str]) -> None:
    """Run the statements of a refusal, which fail where the objects are not there; remove what else was made."""
    for drop in drops:
        people.sql(drop)
    people.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@pytest.mark.parametrize(("statements", "drops"), DEPENDENTS)
def test_from_another_revision_objects_of_others_stop_the_reset_and_are_named(
    dropping: tuple[People, Someone], statements: str, drops: list[str]
) -> None:
    """By a dry run, which tries the reset; a reset that is refused is below."""
    people, ruler = dropping
    add(people, statements)
    with pytest.raises(Conflict) as error:
        run(people, ruler, dry_run=True)
    drop_as_printed(people, drops)
    assert (error.value.code, error.value.details) == ("db.needed_by_others", {"dependents": drops})
    assert drops[0] in error.value.message
    assert run(people, ruler, dry_run=True).current == ALL[-2]


def test_at_the_head_objects_of_others_stay(alone: People) -> None:
    ruler = alone.superuser()
    for statements, drops in DEPENDENTS:
        add(alone, statements)
        assert run(alone, ruler).in_place, statements
        drop_as_printed(alone, drops)


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


def test_missing_object_of_a_damaged_head_is_named_where_others_depend_on_it(alone: People) -> None:
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
