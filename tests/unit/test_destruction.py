"""What of a revision's SQL counts as destructive."""

from __future__ import annotations

import pytest

from bazar_cli.domain.db.destruction import is_destructive


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
def test_what_takes_data_away(sql: str) -> None:
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
def test_what_does_not(sql: str) -> None:
    assert not is_destructive(sql)
