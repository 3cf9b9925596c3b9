"""A database as Supabase creates it, with objects of a project that uses the tables of bazar."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from itertools import groupby

import psycopg
from psycopg import errors

from bazar_cli.devstack.binaries import prepare

ROLES = ("anon", "authenticated", "service_role", "bazar_test_reader", "bazar_test_owner")
_SHAPE = """
    CREATE EXTENSION vector WITH SCHEMA public;
    CREATE SCHEMA storage;
    GRANT USAGE ON SCHEMA public, storage, bazar TO anon, authenticated, service_role;
    GRANT USAGE ON SCHEMA bazar TO bazar_test_owner;
    GRANT USAGE ON SCHEMA bazar TO bazar_test_reader WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO anon;
    ALTER DEFAULT PRIVILEGES IN SCHEMA bazar GRANT SELECT ON TABLES TO service_role;
    ALTER DEFAULT PRIVILEGES IN SCHEMA bazar GRANT USAGE ON SEQUENCES TO service_role;

    GRANT SELECT ON bazar.users TO bazar_test_reader WITH GRANT OPTION;
    SET ROLE bazar_test_reader;
    GRANT SELECT ON bazar.users TO authenticated;
    RESET ROLE;
    GRANT UPDATE (name) ON bazar.users TO authenticated;
    GRANT USAGE ON SEQUENCE bazar.audit_events_seq_seq TO bazar_test_reader;
    GRANT EXECUTE ON FUNCTION bazar.seal_audit(integer) TO bazar_test_reader;
    REVOKE TRUNCATE ON bazar.plans FROM CURRENT_USER;
    CREATE POLICY "reads all" ON bazar.users FOR SELECT TO bazar_test_reader, authenticated USING (true);
    COMMENT ON POLICY "reads all" ON bazar.users IS 'of the reports';
    COMMENT ON TABLE bazar.users IS 'who is here, 100%%';
    COMMENT ON COLUMN bazar.users.name IS 'it''s shown';
    ALTER TABLE bazar.organizations REPLICA IDENTITY FULL;
    ALTER TABLE bazar.users OWNER TO bazar_test_owner;
    ALTER FUNCTION bazar.seal_audit(integer) OWNER TO bazar_test_owner;

    CREATE TABLE bazar."Their table" (id int PRIMARY KEY, plan text REFERENCES bazar.plans);
    INSERT INTO bazar."Their table" VALUES (1, 'plus');
    CREATE FUNCTION bazar.theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TYPE bazar.mood AS ENUM ('well');
    CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION bazar.theirs();
    CREATE TRIGGER keeps_all BEFORE TRUNCATE ON auth.users FOR EACH STATEMENT
        EXECUTE FUNCTION bazar.audit_refuse_change();
    ALTER TABLE auth.users DISABLE TRIGGER keeps_all;
    COMMENT ON TRIGGER keeps_all ON auth.users IS 'off';
    CREATE TRIGGER theirs AFTER INSERT ON bazar.users FOR EACH ROW EXECUTE FUNCTION bazar.theirs();

    CREATE TABLE storage.log (plan text);
    CREATE RULE "keeps all" AS ON INSERT TO bazar.plans DO ALSO
        (INSERT INTO storage.log VALUES (NEW.name); INSERT INTO storage.log VALUES (NULL));
    COMMENT ON RULE "keeps all" ON bazar.plans IS 'theirs';
    ALTER TABLE bazar.plans ENABLE ALWAYS RULE "keeps all";
    CREATE STATISTICS storage."Names" (dependencies, mcv) ON name, email FROM bazar.users;
    ALTER STATISTICS storage."Names" SET STATISTICS 50;
    COMMENT ON STATISTICS storage."Names" IS 'of the reports';
    CREATE STATISTICS storage.lower ON lower(email) FROM bazar.users;
    CREATE TABLE storage.objects (id int PRIMARY KEY, owner uuid, body vector(2));
    ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
    INSERT INTO storage.objects VALUES (1, gen_random_uuid(), '[1,2]');
    CREATE VIEW public.members AS
        SELECT u.id, u.email, coalesce(u.name, 'nobody'::text) AS "Name" FROM bazar.users u WHERE u.state = 'active';
    ALTER VIEW public.members SET (security_barrier = true);
    ALTER VIEW public.members ALTER COLUMN email SET DEFAULT 'a@example.com';
    ALTER VIEW public.members OWNER TO bazar_test_owner;
    REVOKE INSERT, UPDATE, DELETE ON public.members FROM anon;
    GRANT UPDATE (email) ON public.members TO anon;
    COMMENT ON VIEW public.members IS 'of the site';
    COMMENT ON COLUMN public.members.email IS 'lower case';
    CREATE TRIGGER writes INSTEAD OF INSERT ON public.members FOR EACH ROW EXECUTE FUNCTION bazar.theirs();
    CREATE VIEW public.a_count AS SELECT count(*) AS n FROM public.members;
    CREATE MATERIALIZED VIEW auth.per_plan AS
        SELECT p.name, (SELECT count(*) FROM public.members) AS n FROM bazar.plans p;
    CREATE STATISTICS auth.of_plans ON name, n FROM auth.per_plan;
    CREATE UNIQUE INDEX per_plan_name ON auth.per_plan (name);
    COMMENT ON INDEX auth.per_plan_name IS 'for REFRESH CONCURRENTLY';
    CREATE MATERIALIZED VIEW public.empty AS SELECT * FROM bazar.operators WITH NO DATA;
    CREATE POLICY owners ON storage.objects AS RESTRICTIVE FOR UPDATE TO authenticated
        USING (owner IN (SELECT m.id FROM public.members m)) WITH CHECK (owner IN (SELECT u.id FROM bazar.users u));
    COMMENT ON POLICY owners ON storage.objects IS 'theirs';
    CREATE TABLE public.files (
        id int PRIMARY KEY,
        owner_id uuid CONSTRAINT "files owner" REFERENCES bazar.users ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
        plan text REFERENCES bazar.plans (name) ON UPDATE CASCADE
    );
    ALTER TABLE public.files ADD CONSTRAINT untried FOREIGN KEY (owner_id) REFERENCES bazar.users NOT VALID;
    COMMENT ON CONSTRAINT untried ON public.files IS 'later';
    CREATE PUBLICATION bazar_test_changes
        FOR TABLE bazar.users (id, email, state) WHERE (state = 'active'), public.files;
    CREATE PUBLICATION bazar_test_all FOR TABLES IN SCHEMA bazar, storage;
"""


def make_roles(url: str) -> None:
    """Make the roles on the server of the run, which they stay on: other tests have some of them too."""
    with psycopg.connect(url, autocommit=True) as connection:
        for role in ROLES:
            with suppress(errors.DuplicateObject, errors.UniqueViolation):
                connection.execute(f"CREATE ROLE {role} NOLOGIN".encode())


def shape(url: str) -> None:
    """Make the roles, and all the rest in this migrated database, where the schema `auth` is there already."""
    make_roles(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SHAPE.encode())


def dump(url: str, *options: str) -> list[str]:
    """Return the lines of the server's own dump, without its random key.

    The order of the grants on one thing is that in which they were given, and means nothing.
    """
    done = subprocess.run([prepare().program("pg_dump"), *options, url], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "restrict" not in line]
    return [line for grants, some in groupby(lines, _is_grant) for line in (sorted(some) if grants else some)]


def _is_grant(line: str) -> bool:
    return line.startswith(("GRANT ", "REVOKE "))
