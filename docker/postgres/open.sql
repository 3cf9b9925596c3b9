-- After close.sql: the database takes writes again. docs/docker.md
-- This session is read-only as well, and a setting of a database is a write.
SET default_transaction_read_only = off;
SELECT current_database() AS name \gset
ALTER DATABASE :"name" RESET default_transaction_read_only;
-- Sessions that began meanwhile are read-only until they end.
SELECT count(pg_terminate_backend(pid)) AS ended_sessions
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
