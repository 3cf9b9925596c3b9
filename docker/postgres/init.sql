-- Runs once, in the empty database that POSTGRES_DB names, as POSTGRES_USER. Each system has its own role and schema.
\if :{?secrets}
\else
\set secrets /run/secrets
\endif
\set auth_password `cat :'secrets'/auth_database_password`
\set bazar_password `cat :'secrets'/bazar_database_password`

-- Supabase Auth: its migrations expect this role, and a search_path that leads to its own schema.
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT PASSWORD :'auth_password';
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
ALTER ROLE supabase_auth_admin SET search_path = auth;

-- bazar: it creates and owns the schema bazar, and reads nothing of Auth's.
CREATE ROLE bazar LOGIN PASSWORD :'bazar_password';
SELECT current_database() AS name \gset
GRANT CREATE ON DATABASE :"name" TO supabase_auth_admin, bazar;
