"""Revisions declare what they delete: here their SQL is compared with what they declare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.db.migrations import Revision
from tests.support.cli import alembic
from tests.support.release import NEXT, Release
from tests.support.revision_sql import is_destructive, lost_by, sql_by_revision

ROOT = script_location().parent


def undeclared(
    folder: Path, known: tuple[Revision, ...], sql: Callable[..., str], since: str = "base"
) -> list[tuple[str, str]]:
    """The revisions after `since` whose SQL deletes something that they do not declare, and in which direction."""
    up = sql_by_revision(sql("upgrade", f"{since}:head", "--sql", folder=folder))
    down = sql_by_revision(sql("downgrade", f"head:{'0001' if since == 'base' else since}", "--sql", folder=folder))
    by_id = {revision.id: revision for revision in known}
    wrong = [(name, "upgrade") for name, text in up.items() if is_destructive(text) != by_id[name].destructive]
    for name, text in down.items():
        lost = by_id[name].downgrade_loses
        if {*lost_by(text)} - {*lost} or is_destructive(text) != bool(lost):
            wrong.append((name, "downgrade"))
    return wrong


def offline(*words: str, folder: Path) -> str:
    """What plain Alembic writes without a database."""
    return alembic("", *words, cwd=folder).ok().out


def test_every_revision_declares_what_it_deletes() -> None:
    assert undeclared(ROOT, revisions(script_location()), offline) == []


@pytest.mark.parametrize(
    ("up", "down", "head", "wrong"),
    [
        ("op.execute('DROP TABLE bazar.memberships')", "pass", "", ["upgrade"]),
        ("op.execute('DROP TABLE bazar.memberships')", "pass", "destructive = True", []),
        ("pass", "pass", "destructive = True", ["upgrade"]),
        ("op.drop_column('users', 'name', schema='bazar')", "pass", "destructive: bool = True", []),
        ("op.alter_column('users', 'name', type_=sa.Integer(), schema='bazar')", "pass", "", ["upgrade"]),
        ("op.execute('DELETE FROM bazar.users')", "pass", "", ["upgrade"]),
        ("pass", "op.drop_table('extra', schema='bazar')", "", ["downgrade"]),
        ("pass", "op.drop_table('extra', schema='bazar')", "downgrade_loses = ('bazar.extra',)", []),
        ("pass", "op.drop_table('extra', schema='bazar')", "downgrade_loses = ('bazar.other',)", ["downgrade"]),
        ("pass", "op.drop_column('users', 'extra', schema='bazar')", "downgrade_loses = 'bazar.users.extra'", []),
        ("pass", "op.execute('TRUNCATE bazar.users')", "downgrade_loses = ('bazar.users',)", []),
        ("pass", "op.execute('TRUNCATE bazar.users')", "", ["downgrade"]),
    ],
)
def test_undeclared_deletion_is_found(tmp_path: Path, up: str, down: str, head: str, wrong: list[str]) -> None:
    release = Release(tmp_path / "release")
    last = release.revisions[-1]
    release.add(NEXT, up, down, f"import sqlalchemy as sa\n{head}")
    _ = release.revisions

    def written(*words: str, folder: Path) -> str:
        return release.alembic("", *words).ok().out

    known = revisions(release.migrations)
    assert undeclared(release.folder, known, written, last) == [(NEXT, direction) for direction in wrong]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE bazar.invoices",
        "drop\ttable if exists bazar.invoices",
        "DROP FOREIGN TABLE f",
        "DROP SCHEMA bazar",
        "DROP TYPE bazar.mood",
        "DROP SEQUENCE s",
        "DROP EXTENSION citext",
        "DROP FUNCTION f() CASCADE",
        "ALTER TABLE t DROP CONSTRAINT c\n CASCADE",
        "ALTER TABLE bazar.users DROP COLUMN name",
        "ALTER TABLE bazar.users DROP name",
        'ALTER TABLE ONLY bazar."users" ADD COLUMN a int, DROP COLUMN IF EXISTS "old name"',
        "ALTER TABLE bazar.users ALTER COLUMN name TYPE varchar(3)",
        'ALTER TABLE bazar.users ALTER "the name" SET DATA TYPE int USING 0',
        "ALTER TYPE pair DROP ATTRIBUTE a",
        "TRUNCATE bazar.users",
        "SELECT 1; TRUNCATE TABLE ONLY bazar.users",
        "DELETE FROM bazar.users WHERE name IS NULL",
        "WITH gone AS (DELETE FROM bazar.users RETURNING 1) SELECT count(*) FROM gone",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "DO $$ BEGIN DELETE FROM bazar.users; END $$",
        "DO LANGUAGE plpgsql $do$ BEGIN EXECUTE format('DROP TABLE %I', 'users'); END $do$",
        "DO $$ BEGIN EXECUTE 'TRUNCATE ' || quote_ident('users'); END $$",
        "CREATE FUNCTION f() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql; DROP TABLE t",
        "SELECT 'it''s -- no comment'; DROP TABLE t",
        "-- why\nDROP TABLE t",
    ],
)
def test_sql_that_deletes_data(sql: str) -> None:
    assert is_destructive(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "CREATE TABLE bazar.dropped (truncated text, deleted_from text)",
        "CREATE TABLE t (a int REFERENCES u ON DELETE CASCADE)",
        "ALTER TABLE t ADD COLUMN type text, ADD CONSTRAINT c CHECK (type <> 'drop table t')",
        "ALTER TABLE t DROP CONSTRAINT c, ALTER COLUMN a DROP DEFAULT, ALTER COLUMN a DROP NOT NULL",
        "ALTER TABLE t DROP CONSTRAINT c, ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u ON DELETE\n CASCADE",
        "ALTER TABLE t ALTER COLUMN a DROP IDENTITY",
        "ALTER TABLE t ALTER COLUMN type SET NOT NULL",
        "ALTER TYPE bazar.mood ADD VALUE 'drop column'",
        "DROP INDEX CONCURRENTLY IF EXISTS bazar.i",
        "DROP VIEW bazar.operators",
        "DROP FUNCTION f()",
        "DROP POLICY p ON t",
        "DROP TRIGGER t_refuse_truncate ON bazar.t",
        "CREATE TRIGGER g BEFORE UPDATE OR DELETE OR TRUNCATE ON t EXECUTE FUNCTION f()",
        "CREATE TRIGGER g BEFORE TRUNCATE ON t EXECUTE FUNCTION f()",
        "GRANT SELECT, TRUNCATE, DELETE ON t TO someone",
        "REVOKE TRUNCATE ON t FROM someone",
        "CREATE POLICY p ON t FOR DELETE USING (true)",
        "UPDATE bazar.users SET name = 'DELETE FROM x'",
        "INSERT INTO t VALUES ('DROP TABLE t', E'it\\'s DROP TABLE t')",
        "COMMENT ON TABLE t IS 'TRUNCATE t'",
        "-- DROP TABLE t\n/* DROP TABLE t */ SELECT 1",
        "CREATE FUNCTION f() RETURNS trigger AS $f$ BEGIN DELETE FROM t; RETURN NULL; END $f$ LANGUAGE plpgsql",
        "DO $$ BEGIN RAISE NOTICE 'nothing'; -- DROP TABLE t\nEND $$; CREATE FUNCTION f() AS $$ TRUNCATE t $$",
        'CREATE TABLE "DROP TABLE t" (a int)',
        "SELECT 'a'; SELECT 'DROP TABLE t'",
    ],
)
def test_sql_that_deletes_no_data(sql: str) -> None:
    assert not is_destructive(sql)
