"""The revisions: up and down and up again, and what they leave in the schema `bazar`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from bazar_cli.adapters.migrations.migrator import Migrator
from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.adapters.postgres.tables import metadata
from bazar_cli.devstack.binaries import prepare
from bazar_cli.domain.audit import VERIFY, VerifyLog
from bazar_cli.domain.authz.permissions import SEEDED_PLANS
from bazar_cli.domain.db.migrations import Marker, Migrate
from bazar_cli.services.audit import read
from tests.support.cli import alembic as plain_alembic
from tests.support.people import People
from tests.support.postgres import migrate, target_of

ROOT = script_location().parent
DATA_API_ROLES = ("anon", "authenticated")
REVISIONS = [revision.id for revision in revisions(script_location())]
Databases = Callable[..., str]


@pytest.fixture(autouse=True)
def data_api_roles(postgres_url: str) -> None:
    """The roles that Supabase's data API speaks as, on the server of the run."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for role in DATA_API_ROLES:
            try:
                connection.execute(f"CREATE ROLE {role} NOLOGIN".encode())
            except (errors.DuplicateObject, errors.UniqueViolation):
                continue


@pytest.fixture
def migrated(fresh_database: Databases) -> Generator[Callable[[str], list[dict[str, Any]]]]:
    """Ask a database at the head."""
    url = fresh_database(migrated=True)
    with psycopg.Connection[dict[str, Any]].connect(url, autocommit=True, row_factory=dict_row) as connection:

        def ask(query: str) -> list[dict[str, Any]]:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

        yield ask


def alembic(url: str, *arguments: str) -> str:
    """Run plain Alembic in the checkout, as its users do."""
    return plain_alembic(url, *arguments, cwd=ROOT).ok().out


def schema_of(url: str) -> str:
    """The schema `bazar` as the server's own pg_dump writes it, without the dump's random key."""
    dumped = subprocess.run(
        [prepare().program("pg_dump"), "--schema-only", "--schema=bazar", url],
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"(?m)^\\(un)?restrict .*\n", "", dumped.stdout)


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


# -- up and down --------------------------------------------------------------------------------------------


def test_up_down_and_up_again_leaves_the_same_schema(fresh_database: Databases) -> None:
    url = fresh_database()
    alembic(url, "upgrade", "head")
    first = schema_of(url)

    alembic(url, "downgrade", "base")
    alembic(url, "upgrade", "head")

    assert "CREATE TABLE bazar.users" in first
    assert schema_of(url) == first


def test_every_revision_can_be_taken_back_one_by_one(fresh_database: Databases) -> None:
    url = fresh_database()

    for revision in REVISIONS:
        alembic(url, "upgrade", revision)
        first = schema_of(url)
        alembic(url, "downgrade", "-1")
        alembic(url, "upgrade", revision)
        assert schema_of(url) == first, revision


def test_at_base_nothing_of_bazar_is_left(fresh_database: Databases) -> None:
    url = fresh_database()
    alembic(url, "upgrade", "head")

    alembic(url, "downgrade", "base")

    with psycopg.connect(url) as connection:
        [left] = connection.execute("SELECT to_regnamespace('bazar') IS NOT NULL").fetchall()
    assert left == (False,)


def test_at_base_what_is_not_bazars_stays(fresh_database: Databases) -> None:
    url = fresh_database()
    alembic(url, "upgrade", "head")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bazar.of_someone_else (id int)")

        alembic(url, "downgrade", "base")

        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'bazar'::regnamespace").fetchall()
    assert rows == [("of_someone_else",)]


def test_plain_alembic_and_bazar_make_the_same_schema(fresh_database: Databases) -> None:
    by_alembic, by_bazar = fresh_database(), fresh_database()

    alembic(by_alembic, "upgrade", "head")
    migrate(by_bazar)

    assert schema_of(by_alembic) == schema_of(by_bazar)


def test_bazar_goes_on_where_plain_alembic_stopped(fresh_database: Databases) -> None:
    url = fresh_database()
    alembic(url, "upgrade", "head")

    result = Migrator(target_of(url)).migrate(Migrate(), lambda _text: None)

    assert (result.current, result.applied, result.pending) == (REVISIONS[-1], (), ())
    assert result.place.marker == Marker("production", protected=True)


def test_the_tables_are_described_as_they_are(fresh_database: Databases) -> None:
    url = fresh_database()
    migrate(url)

    assert "No new upgrade operations detected" in alembic(url, "check")


# -- what is seeded -----------------------------------------------------------------------------------------


def test_the_seeded_plan_table_is_the_one_in_the_code(migrated: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = migrated("SELECT plan, permission FROM bazar.plan_permissions")

    assert {(row["plan"], row["permission"]) for row in rows} == {
        (plan.value, permission.value) for plan, permissions in SEEDED_PLANS.items() for permission in permissions
    }


def test_the_seeded_plans_stand_in_order(migrated: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = migrated("SELECT name, title FROM bazar.plans ORDER BY position")

    assert [tuple(row.values()) for row in rows] == [("free", "Free"), ("plus", "Plus"), ("premium", "Premium")]


def test_every_database_is_a_deployment_of_its_own(fresh_database: Databases) -> None:
    ids: set[object] = set()
    for url in (fresh_database(), fresh_database()):
        migrate(url)
        with psycopg.connect(url) as connection:
            ids |= {row[0] for row in connection.execute("SELECT id FROM bazar.deployment").fetchall()}

    assert len(ids) == 2


# -- closed to the data API ---------------------------------------------------------------------------------


def test_row_level_security_is_on_for_every_table(migrated: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = migrated(
        "SELECT relname, relrowsecurity FROM pg_class"
        " WHERE relnamespace = 'bazar'::regnamespace AND relkind IN ('r', 'p')"
    )

    assert {"users", "alembic_version"} <= set(column(rows, "relname"))
    assert [row["relname"] for row in rows if not row["relrowsecurity"]] == []


def test_the_data_api_has_no_privilege_even_where_it_gets_them_by_default(fresh_database: Databases) -> None:
    url = fresh_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for role in DATA_API_ROLES:
            for kind in ("TABLES", "SEQUENCES", "FUNCTIONS", "SCHEMAS"):
                connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO {role}".encode())
        connection.execute("CREATE TABLE public.open_by_default (id int)")
        migrate(url)

        left = connection.execute(PRIVILEGES_LEFT).fetchall()
        schema = connection.execute(
            "SELECT r FROM unnest(%s::text[]) r WHERE has_schema_privilege(r, 'bazar', 'USAGE')"
            " OR has_schema_privilege(r, 'bazar', 'CREATE')",
            (list(DATA_API_ROLES),),
        ).fetchall()
        [by_default] = connection.execute(
            "SELECT has_table_privilege('anon', 'public.open_by_default', 'SELECT')"
        ).fetchall()

    assert by_default == (True,), "the arrangement opens new tables"
    assert left == []
    assert schema == []


PRIVILEGES_LEFT = """
    SELECT c.relname, r.rolname, p.privilege
    FROM pg_class c, pg_roles r,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (privilege)
    WHERE c.relnamespace = 'bazar'::regnamespace AND r.rolname IN ('anon', 'authenticated')
      AND CASE WHEN c.relkind IN ('r', 'p', 'v', 'm') THEN has_table_privilege(r.oid, c.oid, p.privilege)
               WHEN c.relkind = 'S' THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')
               ELSE false END
    UNION ALL
    SELECT f.proname, r.rolname, 'EXECUTE' FROM pg_proc f, pg_roles r
    WHERE f.pronamespace = 'bazar'::regnamespace AND r.rolname IN ('anon', 'authenticated')
      AND has_function_privilege(r.oid, f.oid, 'EXECUTE')
"""


def test_functions_run_with_the_rights_and_the_path_that_they_should(
    migrated: Callable[[str], list[dict[str, Any]]],
) -> None:
    rows = migrated("SELECT proname, prosecdef, proconfig FROM pg_proc WHERE pronamespace = 'bazar'::regnamespace")

    assert "seal_audit" in column(rows, "proname")
    assert {(row["prosecdef"], *row["proconfig"]) for row in rows} == {(False, "search_path=pg_catalog, pg_temp")}


def test_view_of_operators_runs_with_the_rights_of_its_reader(
    migrated: Callable[[str], list[dict[str, Any]]],
) -> None:
    [view] = migrated("SELECT reloptions FROM pg_class WHERE oid = 'bazar.operators'::regclass")

    assert view["reloptions"] == ["security_invoker=true"]


# -- names and indexes --------------------------------------------------------------------------------------


def test_every_constraint_and_index_has_the_name_that_we_gave_it(
    migrated: Callable[[str], list[dict[str, Any]]],
) -> None:
    # Since version 18 Postgres names NOT NULL constraints as well; Alembic names the key of its own table.
    constraints = migrated(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'bazar'::regnamespace AND contype <> 'n'"
        " AND conrelid <> 'bazar.alembic_version'::regclass"
    )
    indexes = migrated(
        "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE relnamespace = 'bazar'::regnamespace"
        " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)"
    )

    tables = metadata.sorted_tables
    assert sorted(column(constraints, "conname")) == sorted(str(c.name) for t in tables for c in t.constraints)
    assert sorted(column(indexes, "relname")) == sorted(str(i.name) for t in tables for i in t.indexes)


def test_every_foreign_key_has_an_index(migrated: Callable[[str], list[dict[str, Any]]]) -> None:
    rows = migrated(
        """
        SELECT c.conname, EXISTS (
            SELECT 1 FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indpred IS NULL AND i.indisvalid
            AND (string_to_array(i.indkey::text, ' ')::smallint[])[1:cardinality(c.conkey)] @> c.conkey) AS indexed
        FROM pg_constraint c WHERE c.contype = 'f' AND c.connamespace = 'bazar'::regnamespace
        """
    )

    assert "memberships_user_id_fkey" in column(rows, "conname")
    assert [row["conname"] for row in rows if not row["indexed"]] == []


# -- what the tables refuse ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), 'Ada@example.com')", "users_email_check"),
        ("INSERT INTO bazar.users (id, email, state) VALUES (gen_random_uuid(), 'a@b', 'gone')", "users_state_check"),
        ("INSERT INTO bazar.users (id, email, pending) VALUES (gen_random_uuid(), 'a@b', 'x')", "users_pending_check"),
        ("INSERT INTO bazar.users (id, email, origin) VALUES (gen_random_uuid(), 'a@b', 'x')", "users_origin_check"),
        ("INSERT INTO bazar.users (id, email, plan) VALUES (gen_random_uuid(), 'a@b', 'gold')", "users_plan_fkey"),
        (
            "INSERT INTO bazar.users (id, email, lease_until) VALUES (gen_random_uuid(), 'a@b', now())",
            "users_lease_check",
        ),
        (
            "INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), 'a@b'), (gen_random_uuid(), 'a@b')",
            "users_email_key",
        ),
        (
            "INSERT INTO bazar.organizations (id, slug, name) VALUES (gen_random_uuid(), 'Acme', 'Acme')",
            "organizations_slug_check",
        ),
        ("INSERT INTO bazar.plan_permissions VALUES ('free', 'everything')", "plan_permissions_permission_check"),
        ("INSERT INTO bazar.deployment SELECT true, id, 'x', false FROM bazar.deployment", "deployment_pkey"),
        (
            "INSERT INTO bazar.deployment SELECT false, id, 'x', false FROM bazar.deployment",
            "deployment_singleton_check",
        ),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_the_tables_refuse_what_breaks_a_rule(fresh_database: Databases, statement: str, name: str) -> None:
    with (
        psycopg.connect(fresh_database(migrated=True)) as connection,
        pytest.raises(psycopg.IntegrityError) as refused,
    ):
        connection.execute(statement.encode())

    assert refused.value.diag.constraint_name == name


def test_a_deleted_user_leaves_the_record_and_no_membership(fresh_database: Databases) -> None:
    with psycopg.connect(fresh_database(migrated=True), autocommit=True) as connection:
        connection.execute(
            """
            WITH u AS (INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), 'a@b') RETURNING id),
                 o AS (INSERT INTO bazar.organizations (id, slug, name) VALUES (gen_random_uuid(), 'o', 'O')
                       RETURNING id),
                 m AS (INSERT INTO bazar.memberships SELECT o.id, u.id, 'owner' FROM o, u)
            INSERT INTO bazar.audit_events (id, operator_id, operator_email, use_case, outcome, target_type,
                                            target_id, request_id)
            SELECT gen_random_uuid(), u.id, 'a@b', 'users.update', 'done', 'user', u.id, 'r' FROM u
            """
        )
        connection.execute("DELETE FROM bazar.users")

        counts = connection.execute(
            "SELECT (SELECT count(*) FROM bazar.memberships), (SELECT count(*) FROM bazar.audit_events)"
        ).fetchall()

    assert counts == [(0, 1)]


# -- 0002: events of before ---------------------------------------------------------------------------------


def test_events_of_before_are_hashed_and_sealed_and_stay(fresh_database: Databases) -> None:
    url = fresh_database()
    alembic(url, "upgrade", "0001")
    first = schema_of(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, after, request_id)
            SELECT gen_random_uuid(), 'a@b', 'users.update', 'done', 'user', '{"name": "Ann"}', 'r'
            FROM generate_series(1, 1001)
            """
        )
        before = connection.execute("SELECT t::text FROM bazar.audit_events t ORDER BY seq").fetchall()

        # The hash does not depend on what the session says about times and names.
        [(name,)] = connection.execute("SELECT current_database()").fetchall()
        for setting in ("TimeZone = 'Asia/Kolkata'", "DateStyle = 'German'", "search_path = 'bazar'"):
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
        migrate(url)
        for setting in ("TimeZone", "DateStyle", "search_path"):
            connection.execute(f'ALTER DATABASE "{name}" RESET {setting}'.encode())
        connection.execute(
            "INSERT INTO bazar.audit_events (id, operator_email, use_case, outcome, target_type, request_id)"
            " VALUES (gen_random_uuid(), 'a@b', 'users.update', 'done', 'user', 'r')"
        )
        with People(target_of(url)) as people:
            found = people.run(people.superuser(), read.verify, VERIFY, VerifyLog(), dry_run=True)
        assert (found.findings, found.events, found.seals, found.unsealed) == ((), 1002, 2, 1)

        connection.execute("DELETE FROM bazar.users")
        alembic(url, "downgrade", "0001")

        assert schema_of(url) == first
        after = connection.execute("SELECT t::text FROM bazar.audit_events t WHERE seq <= 1001 ORDER BY seq").fetchall()
    assert after == before


# -- 0007: finished rows of imports -------------------------------------------------------------------------


def test_finished_rows_of_imports_keep_what_an_undo_needs(fresh_database: Databases) -> None:
    """And undone rows are rows of an older release again after a rollback."""
    url, run = fresh_database(), "'00000000-0000-0000-0000-000000000001'"
    alembic(url, "upgrade", "0006")
    rows = [(2, "open", "create"), (3, "created", "create"), (4, "updated", "update")]
    with psycopg.Connection[Any].connect(url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO bazar.import_runs (id, content_hash, columns, via, on_conflict, operator_id, operator_email,"
            f" request_id, rows) VALUES ({run}, sha256('x'), '{{email}}', 'api', 'fail', {run}, 'a@b', 'r', 3)".encode()
        )
        for row in rows:
            connection.execute(
                f"INSERT INTO bazar.import_rows (run_id, line, email, user_id, name, plan, organizations,"
                f" user_metadata, app_metadata, status, action)"
                f" VALUES ({run}, %s, 'a@b', {run}, 'Ada', 'free', '[]', '{{}}', '{{}}', %s, %s)".encode(),
                (row[0], row[1], row[2]),
            )
        alembic(url, "upgrade", "0007")
        kept = connection.execute(
            "SELECT line, name, plan, organizations, user_metadata, app_metadata FROM bazar.import_rows ORDER BY line"
        )
        assert kept.fetchall() == [
            (2, "Ada", "free", [], {}, {}),
            (3, None, None, [], None, None),
            (4, None, None, None, None, None),
        ]
        connection.execute("UPDATE bazar.import_rows SET status = 'undone'")
        alembic(url, "downgrade", "0006")
        statuses = connection.execute("SELECT line, status FROM bazar.import_rows ORDER BY line").fetchall()
        assert statuses == [(2, "created"), (3, "created"), (4, "failed")]
